"""What the grid will look like when a set point takes effect: the present estimate carried ahead by the forecast.

A control centre whose set points act one long step later must not answer the state it sees but the state it will meet.
The nowcast is persistence of the estimate plus the *change* that the forecast and the microgrids' plans expect between
now and then: ``x(t + lead) = x̂(t) + f(t + lead) - f(t)``.  An error of the forecast that lasts longer than the lead
cancels out (Box and Jenkins, *Time Series Analysis*, ch. 5: the best prediction of an autoregressive error over a short
lead is the error itself).
"""

from __future__ import annotations

from datetime import datetime

from heila_mosaik.domain.forecast.knowledge import Knowledge
from heila_mosaik.domain.quantities import FloatArray


class Nowcast:
    """Carries powers ahead.

    Args:
        knowledge: Forecast of the injections and plans of the microgrids.
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self.knowledge = knowledge

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
        p_now, q_now = self.knowledge.expected(now)
        p_then, q_then = self.knowledge.expected(effect)
        return p_mw + (p_then - p_now), q_mvar + (q_then - q_now)
