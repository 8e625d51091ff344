"""Real time: share what is missing to the level out among the reserves, cheapest first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heila_mosaik.domain.powerflowopt.levelling import Lot
from heila_mosaik.domain.quantities import FloatArray


def share_out(change_mw: float, lots: Sequence[Lot], row: int = 0) -> tuple[FloatArray, float]:
    """Adjustments that change the exchange by ``change_mw``.

    Args:
        change_mw: Wanted change of the exchange, negative lowers import. [MW]
        lots: Reserves that can be called. (j,)
        row: Interval whose effects hold.

    Returns:
        adjustment of consumption of each lot ``(j,)`` and what is missing. [MW]
    """
    p = np.zeros(len(lots))
    left = change_mw
    order = sorted(range(len(lots)), key=lambda j: (lots[j].price_eur_per_mwh, lots[j].name))
    for j in order:
        effect = float(lots[j].effect[row])
        if effect <= 1e-6 or abs(left) < 1e-9:
            continue
        p[j] = float(np.clip(left / effect, lots[j].p_min_mw, lots[j].p_max_mw))
        left -= p[j] * effect
    return p, left
