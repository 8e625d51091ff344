"""A small closed loop: true grid, telemetry, DMS and microgrids that follow at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandapower.networks as pn

from heila_mosaik.actors.dms import Dms, DmsSettings
from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.forecast import ErrorModel, Injections, Knowledge
from heila_mosaik.domain.information import (
    ActivationNotification,
    Message,
    OperationPlan,
    PQProfile,
    ReserveNotification,
)
from heila_mosaik.domain.market import MarketCalendar
from heila_mosaik.domain.quantities import Product, Quantity
from heila_mosaik.domain.telemetry import MeasurementModel, standard_points
from heila_mosaik.gridmodel import compile_net

START = datetime(2026, 1, 15, 0, 0, tzinfo=UTC)
LOCATIONS = {"north": 6, "south": 9, "west": 13}


def day_shape(moment: datetime) -> float:
    """Load factor of the day: low at night, peak at 18."""
    hour = moment.hour + moment.minute / 60
    return 0.55 + 0.5 * float(np.exp(-(((hour - 18) / 3.0) ** 2)))


class Lab:
    """CIGRE MV at winter load with three microgrids and a tight transformer."""

    def __init__(self, seed: int = 1, dropout: float = 0.0, **settings: object) -> None:
        net = pn.create_cigre_network_mv()
        self.plant = compile_net(net)
        network = self.plant.network
        self.base = self.plant.default_input()
        names = tuple(f"load.{key}" for key in network.loads.ids)

        def profile(grid):  # type: ignore[no-untyped-def]
            shape = np.array([day_shape(grid.at(row)) for row in range(grid.count)])[:, None]
            return 1.02 * shape * self.base.load_p_mw, 1.02 * shape * self.base.load_q_mvar

        self.limits = replace(
            Limits.of(network),
            v_min_pu=np.full(len(network.bus_ids), 0.90),
            v_max_pu=np.full(len(network.bus_ids), 1.10),
            trafo_percent=np.full(len(network.trafos.ids), 95.0),
        )
        knowledge = Knowledge(
            injections=Injections(
                names=names, bus=network.loads.bus, scale_mva=network.loads.scale.clip(0.05), profile=profile
            ),
            locations=LOCATIONS,
            location_scale_mva=dict.fromkeys(LOCATIONS, 1.5),
            ext_vm_pu=np.array([1.03]),
            error=ErrorModel(relative=0.1, floor=0.02),
        )
        engine = compile_net(net)
        self.dms = Dms(DmsSettings(**settings), engine, knowledge, MarketCalendar(zone="UTC"), limits=self.limits)  # type: ignore[arg-type]
        feeders = ("trafo.0", "trafo.1", "line.0", "line.10")
        self.meter = MeasurementModel(
            network,
            "sau",
            standard_points(network, feeders, tuple(LOCATIONS)),
            np.random.default_rng(seed),
            dropout=dropout,
        )
        self.noise = np.random.default_rng(seed + 100)
        self.adjust = dict.fromkeys(LOCATIONS, (0.0, 0.0, START))
        self.sent: list[tuple[datetime, ActivationNotification]] = []
        self.records: list[object] = []
        self.messages: list[Message] = []
        self.trafo: list[float] = []

    def plan(self, at: datetime, power: float = 0.6) -> list[Message]:
        n = 24 * 60
        zero = (0.0,) * n
        found = []
        for name in LOCATIONS:
            profile = PQProfile(
                start=at, step_s=900, p_mw=(power,) * n, q_mvar=(0.1,) * n, p_min_mw=zero, p_max_mw=zero,
                q_min_mvar=zero, q_max_mvar=zero,
            )  # fmt: skip
            body = OperationPlan(id=f"plan/{name}", subject=name, issued_at=at, profile=profile)
            found.append(self.letter(at, body))
        return found

    def letter(self, at: datetime, body: object, sender: str = "ams") -> Message:
        return Message(id="x-1", sender=sender, receiver="dms", sent_at=at, body=body)  # type: ignore[arg-type]

    def reserve(self, name: str, hour: int, hours: int = 1, **changes: object) -> ReserveNotification:
        fields = {
            "id": f"r/{name}/{hour}", "offer": "o", "buyer": "dms", "seller": "ams", "location": name,
            "product": Product.CRP2, "start": START + timedelta(hours=hour),
            "stop": START + timedelta(hours=hour + hours), "p_min_mw": -1.0, "p_max_mw": 0.5, "q_min_mvar": -0.3,
            "q_max_mvar": 0.3, "price_eur_per_mwh": 60.0 + len(name), "reactive_eur_per_mvarh": 2.0,
        }  # fmt: skip
        return ReserveNotification(**(fields | changes))  # type: ignore[arg-type]

    def truth(self, now: datetime):  # type: ignore[no-untyped-def]
        given = self.base
        factor = day_shape(now) * (1 + 0.005 * self.noise.standard_normal(len(given.load_p_mw)))
        powers = replace(given, load_p_mw=given.load_p_mw * factor, load_q_mvar=given.load_q_mvar * factor)
        p, q = self.plant.bus_injection(powers)
        handed = {}
        for name, bus in LOCATIONS.items():
            dp, dq, until = self.adjust[name]
            dp, dq = (dp, dq) if now < until else (0.0, 0.0)
            p[bus] += 0.6 + dp
            q[bus] += 0.1 + dq
            handed[name, Quantity.ACTIVE_POWER], handed[name, Quantity.REACTIVE_POWER] = 0.6 + dp, 0.1 + dq
        return self.plant.solve_bus(p, q), handed

    def run(self, start: datetime, minutes: int, inbox: list[Message] | None = None) -> None:
        inbox = inbox or []
        for minute in range(minutes):
            now = start + timedelta(minutes=minute)
            state, handed = self.truth(now)
            self.trafo.append(float(state.trafo_loading_percent.max()))
            measured = self.meter.measure(now, state, handed)
            outcome = self.dms.step(now, inbox, measured)
            inbox = []
            self.records += outcome.records
            self.messages += outcome.messages
            for message in outcome.messages:
                if isinstance(message.body, ActivationNotification):
                    body = message.body
                    self.sent.append((now, body))
                    self.adjust[body.location] = (body.p_mw, body.q_mvar, body.stop)
