"""What several resources can promise together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from heila_mosaik.domain.flexibility.envelope import Envelope, FlexibilitySettings
from heila_mosaik.domain.quantities import FloatArray

TINY = 1e-9


def _joint_range(rooms: FloatArray, shares: FloatArray) -> FloatArray:
    """Largest T of every interval with T = sum of min(room, share * T): no member gives more than its share. [MW] (n,)

    Args:
        rooms: Range of each member. [MW] (m, n)
        shares: Largest share of T a member may give; infinite for any. [1] (m,)
    """
    limit = np.where(np.isinf(shares), 0.0, 1.0)[:, None] * rooms / np.minimum(shares, 1e12)[:, None]
    order = np.argsort(limit, axis=0, kind="stable")
    sorted_rooms = np.take_along_axis(rooms, order, axis=0)
    sorted_shares = np.where(np.isinf(shares), 0.0, shares)[order]
    best = np.zeros(rooms.shape[1])
    full = np.zeros(rooms.shape[1])
    rest = sorted_shares.sum(axis=0)
    for room, share in zip(sorted_rooms, sorted_shares, strict=True):
        # This member and those before it give all they have, the others their share.
        full, rest = full + room, rest - share
        total = np.where(rest < 1.0 - TINY, full / np.maximum(1.0 - rest, TINY), 0.0)
        with np.errstate(invalid="ignore"):
            given = np.fmin(rooms, shares[:, None] * total).sum(axis=0)
        best = np.where(given >= total * (1.0 - 1e-9), np.maximum(best, total), best)
    return best


def _promise(ranges: Sequence[FloatArray], energies: Sequence[float], hold_h: float) -> tuple[list[FloatArray], float]:
    """Ranges narrowed to ``hold_h`` and the energy they can deliver together in any order.

    A member that may be asked for a share ``s`` of any call limits the promise to its energy over ``s``.  In intervals
    where the large stores have no room, a small one would be the whole range and so limit the promise of the whole
    horizon; its range is cut there instead, wherever that leaves the larger product of range and energy.
    """
    if not ranges:
        return [], math.inf
    energy = np.asarray(energies, dtype=np.float64)
    hold = energy / hold_h if hold_h > 0 else np.full(len(energy), np.inf)
    rooms = np.minimum(np.maximum(np.asarray(ranges, dtype=np.float64), 0.0), hold[:, None])
    used = np.any(rooms > TINY, axis=1)
    if not np.any(used):
        return list(rooms), 0.0
    finite = used & np.isfinite(energy)
    if not np.any(finite):
        return list(rooms), math.inf
    total = rooms.sum(axis=0)
    share = np.divide(rooms, total, out=np.zeros_like(rooms), where=total > TINY).max(axis=1)
    naive = float((energy[finite] / np.maximum(share[finite], TINY)).min())
    whole = float(energy[finite].sum())
    best, best_energy, best_score = rooms, naive, naive * float(total.sum())
    for promised in (whole, 0.9 * whole, 0.75 * whole, 0.5 * whole):
        if promised <= naive:
            break
        shares = np.where(finite, energy / promised, np.inf)
        joint = _joint_range(rooms, shares)
        score = promised * float(joint.sum())
        if score > best_score * (1.0 + 1e-6):
            cut = np.where(np.isfinite(shares)[:, None], np.where(finite, shares, 0.0)[:, None] * joint, np.inf)
            best, best_energy, best_score = np.minimum(rooms, cut), promised, score
    return list(best), best_energy


def aggregate(name: str, envelopes: Sequence[Envelope], settings: FlexibilitySettings) -> Envelope:
    """Envelope of a microgrid at its point of common coupling.

    Args:
        name: Microgrid.
        envelopes: Its resources, all on one grid (at least one).
        settings: How carefully to promise.

    Returns:
        Sum of the plans with the range and energy that the resources can deliver together.
    """
    if not envelopes:
        raise ValueError(f"{name}: a microgrid needs at least one resource")
    p_mw = np.sum([envelope.p_mw for envelope in envelopes], axis=0)
    q_mvar = np.sum([envelope.q_mvar for envelope in envelopes], axis=0)
    up, energy_up = _promise([e.up_mw for e in envelopes], [e.energy_up_mwh for e in envelopes], settings.hold_h)
    down, energy_down = _promise(
        [e.down_mw for e in envelopes], [e.energy_down_mwh for e in envelopes], settings.hold_h
    )
    q_min, q_max = q_mvar, q_mvar
    if settings.reactive:
        q_min = np.sum([envelope.q_min_mvar for envelope in envelopes], axis=0)
        q_max = np.sum([envelope.q_max_mvar for envelope in envelopes], axis=0)
    up_total, down_total = np.sum(up, axis=0), np.sum(down, axis=0)
    moved = [float(u.sum() + d.sum()) for u, d in zip(up, down, strict=True)]
    cost = sum(m * e.cost_eur_per_mwh for m, e in zip(moved, envelopes, strict=True)) / max(sum(moved), TINY)
    return Envelope(
        name=name,
        grid=envelopes[0].grid,
        p_mw=p_mw,
        q_mvar=q_mvar,
        p_min_mw=p_mw - up_total,
        p_max_mw=p_mw + down_total,
        q_min_mvar=q_min,
        q_max_mvar=q_max,
        energy_up_mwh=energy_up,
        energy_down_mwh=energy_down,
        cost_eur_per_mwh=cost,
    )
