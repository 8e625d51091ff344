"""What the grid will look like when a set point takes effect: the present estimate carried ahead by the forecast.

A control centre whose set points act one long step later must not answer the state it sees but the state it will meet.
The nowcast is persistence of the estimate plus the *change* that the forecast and the microgrids' plans expect between
now and then: ``x(t + lead) = x̂(t) + f(t + lead) - f(t)``.  An error of the forecast that lasts longer than the lead
cancels out (Box and Jenkins, *Time Series Analysis*, ch. 5: the best prediction of an autoregressive error over a short
lead is the error itself).
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.domain.forecast.knowledge import Knowledge
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.timegrid import TimeGrid


class Nowcast:
    """Carries powers ahead.

    The forecast's values hold at the starts of its intervals; between them it is read linearly, as a control centre
    reads a quarter-hourly schedule.

    Args:
        knowledge: Forecast of the injections and plans of the microgrids.
        step_s: Interval of the forecast that is read. [s]
        chunk_s: The forecast is read in chunks of this length. [s]
    """

    def __init__(self, knowledge: Knowledge, step_s: int = 900, chunk_s: int = 6 * 3600) -> None:
        self.knowledge, self.step_s, self.chunk_s = knowledge, step_s, chunk_s
        self._chunk: tuple[TimeGrid, FloatArray, FloatArray] | None = None

    def ahead(
        self, now: datetime, effect: datetime, p_mw: FloatArray, q_mvar: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Powers expected at ``effect``, given those at ``now``. [MW] (n,), [MVar] (n,)

        Args:
            now: Time of the estimate.
            effect: Time a set point decided now takes effect.
            p_mw: Active consumption of every injection, then of every microgrid, now. [MW] (n,)
            q_mvar: Reactive consumption. [MVar] (n,)
        """
        if effect <= now:
            return p_mw, q_mvar
        p_now, q_now = self.expected(now)
        p_then, q_then = self.expected(effect)
        return p_mw + (p_then - p_now), q_mvar + (q_then - q_now)

    def expected(self, moment: datetime) -> tuple[FloatArray, FloatArray]:
        """Forecast and plans at one moment. [MW] (n,), [MVar] (n,)"""
        grid, p, q = self._covering(moment)
        place = (moment - grid.start).total_seconds() / self.step_s
        row = int(place)
        share = place - row
        plans = [self.knowledge.planned(name, moment) for name in self.knowledge.locations]
        own_p = p[row] * (1.0 - share) + p[row + 1] * share
        own_q = q[row] * (1.0 - share) + q[row + 1] * share
        return np.append(own_p, [plan[0] for plan in plans]), np.append(own_q, [plan[1] for plan in plans])

    def _covering(self, moment: datetime) -> tuple[TimeGrid, FloatArray, FloatArray]:
        """Chunk of the forecast with ``moment`` before its last row."""
        kept = self._chunk
        if kept is None or not 0 <= kept[0].position(moment) < kept[0].count - 1:
            midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
            passed = int((moment - midnight).total_seconds() // self.step_s) * self.step_s
            grid = TimeGrid(
                start=midnight + timedelta(seconds=passed),
                step_s=self.step_s,
                count=max(self.chunk_s // self.step_s, 1) + 1,
            )
            kept = self._chunk = (grid, *self.knowledge.injections.profile(grid))
        return kept
