"""One own actor on a grid of one's own, wired by hand: it sheds a load while a line is overloaded."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import mosaik
import pandapower.networks as pn

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.domain.information import ControlSignal, Measurements, Message
from heila_mosaik.domain.quantities import Quantity
from heila_mosaik.domain.streams import stream
from heila_mosaik.domain.telemetry import MeasurementModel, MeasurementPoint
from heila_mosaik.gridmodel import compile_net
from heila_mosaik.simulators.exchange import Exchange
from heila_mosaik.simulators.links import Link
from heila_mosaik.simulators.network import CommunicationNetwork

START = datetime(2025, 6, 2, tzinfo=UTC)
STEP_S = 60


class Watchman:
    """Opens a load when a line carries more than its limit, closes it again well below."""

    def __init__(self, name: str, line: str, load: str, limit_mw: float) -> None:
        self.name, self.line, self.load, self.limit_mw = name, line, load, limit_mw
        self.closed = True
        self._out = Outbox(name)

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None) -> Outcome:
        """Look at the line and order if the load has to change."""
        self._out.begin(now)
        flow = measurements.value(self.line, Quantity.ACTIVE_POWER) if measurements is not None else None
        if flow is not None:
            closed = flow < (self.limit_mw if self.closed else 0.85 * self.limit_mw)
            if closed != self.closed:
                self.closed = closed
                order = ControlSignal(
                    id=self._out.identity("order"),
                    target=self.load,
                    start=now,
                    stop=now + timedelta(days=1),
                    closed=closed,
                )
                self._out.control(order)
                self._out.record("ordered", f"{self.load} {'back' if closed else 'off'}: {flow:.3f} MW", flow_mw=flow)
        return self._out.outcome()


def demand(time: int) -> float:
    """Power of the load at bus 3: high in the second quarter of the hour. [MW]"""
    return 1.2 if 900 <= time < 1800 else 0.3


def run() -> dict[int, float]:
    """One hour; returns the flow over line 0 by time in seconds. [MW]"""
    net = pn.create_cigre_network_mv()
    points = (MeasurementPoint(element="line.0", quantity=Quantity.ACTIVE_POWER),)
    model = MeasurementModel(compile_net(net).network, "sau", points, stream(1, "telemetry"), period_s=STEP_S)
    watchman = Watchman("watchman", line="line.0", load="load.5", limit_mw=5.0)
    clock = {"start": START, "step_s": STEP_S}
    simulators = {
        "Grid": {"python": "heila_mosaik.simulators.grid:GridSimulator"},
        "Telemetry": {"python": "heila_mosaik.simulators.telemetry:Telemetry"},
        "Actors": {"python": "heila_mosaik.simulators.actor:ActorHost"},
        "Load": {"python": "mosaik.basic_simulators.input_simulator:InputSimulator"},
        "Out": {"python": "mosaik.basic_simulators.output_simulator:OutputSimulator"},
    }
    with mosaik.World(simulators, cache=False, skip_greetings=True) as world:
        grid = world.start("Grid", step_size=STEP_S, start=START).Grid(net=net)
        elements = {child.eid: child for child in grid.children}
        telemetry = world.start("Telemetry", model=model, receiver="watchman", **clock).Telemetry()
        exchange = Exchange([watchman], CommunicationNetwork(Link()))
        host = world.start("Actors", exchange=exchange, **clock).Host()
        load = world.start("Load", step_size=STEP_S).Function.create(1, function=demand)[0]
        recorder = world.start("Out")
        out = recorder.Dict()
        world.connect(load, elements["Load-1"], ("value", "P[MW]"))
        world.connect(grid, telemetry, "state")
        world.connect(telemetry, host, "measurements")
        # What an actor orders acts one step later: the one time-shifted connection of the loop.
        world.connect(host, grid, "controls", time_shifted=True, initial_data={"controls": []})
        world.connect(elements["Line-0"], out, "P[MW]")
        world.run(until=3600, print_progress=False)
        recorded = recorder.get_dict(out.eid)
    return {time: next(iter(values["P[MW]"].values())) for time, values in recorded.items()}


if __name__ == "__main__":
    for second, flow in run().items():
        print(f"{second // 60:3d} min  {flow:6.3f} MW")  # noqa: T201 - it is what the example is for
