"""mosaik simulator ``Pacer``: keeps a study on an absolute monotonic schedule.

mosaik's ``rt_factor`` lets simulators without inputs step up to a period early and creeps; here every step waits for
its own deadline.  Connect ``pace`` to all simulators that have no other input; the others follow from them.  Connect
the simulator that ends a step to ``done``, time-shifted: mosaik lets a simulator without inputs run ahead, and a pacer
ahead of its study would measure nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import mosaik_api_v3

from heila_mosaik.domain.realtime import Schedule
from heila_mosaik.simulators.base import Attribute, Model, meta

ATTRIBUTES = (
    Attribute(name="pace", unit="1", meaning="Number of the step that may begin."),
    Attribute(name="done", unit="", meaning="Whatever comes last in a step; not read.", direction="in"),
    Attribute(name="lag[s]", unit="s", meaning="How long after its deadline the step began."),
)
MODELS = (Model(name="Pacer", attributes=ATTRIBUTES),)
_NAP_S = 0.05
_SPARE_S = 0.02

Idle = Callable[[float], None]
"""Called again and again while the study waits, with the time left to the deadline. [s]"""


class Pacer(mosaik_api_v3.Simulator):
    """Waits for the wall; see the module's text."""

    def __init__(self) -> None:
        super().__init__(meta("time-based", MODELS))
        self._steps = 0
        self._lag_s = 0.0

    def init(
        self,
        sid: str,  # noqa: ARG002 - given by mosaik
        time_resolution: float = 1.0,
        *,
        schedule: Schedule,
        step_s: int,
        idle: Idle | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Any:
        """Take the schedule.

        Args:
            sid: Identity of the simulator.
            time_resolution: Length of one mosaik time unit. [s]
            schedule: Deadlines on the wall.
            step_s: Step in simulated time. [s]
            idle: Work for the time of waiting; must be short.
            clock: Monotonic clock of the schedule.
        """
        self._schedule, self._step_s, self._resolution = schedule, step_s, time_resolution
        self._idle, self._clock = idle, clock
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        """Create the one entity ``Pacer``."""
        if num != 1:
            raise ValueError(f"a {model} is one, not {num}: one schedule paces the study")
        return [{"eid": "pacer", "type": model}]

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> Generator[Awaitable[None], None, int]:  # noqa: ARG002
        """Wait for the deadline of the step; a generator, so that mosaik's loop runs meanwhile."""
        self._schedule.open(self._clock())
        yield self._wait(self._schedule.due_s(self._steps))
        self._lag_s = self._schedule.begin(self._steps, self._clock())
        self._steps += 1
        return int(time + round(self._step_s / self._resolution))

    async def _wait(self, due_s: float) -> None:
        left_s = due_s - self._clock()
        while left_s > 0.0:
            if self._idle is not None and left_s > _SPARE_S:
                self._idle(left_s)
                left_s = due_s - self._clock()
            # Naps end well before the deadline; the last one ends at it.
            await asyncio.sleep(max(0.0, left_s if left_s <= _NAP_S else min(_NAP_S, left_s - _SPARE_S)))
            left_s = due_s - self._clock()

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """Number and lag of the step."""
        values = {"pace": self._steps, "lag[s]": self._lag_s}
        return {eid: {name: values[name] for name in names} for eid, names in outputs.items()}
