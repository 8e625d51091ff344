"""A closed loop with the own means of the DSO: grid with taps, bank and wind park; commands act a step late."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pandapower as pp
import pandapower.networks as pn

from heila_mosaik.actors.dms import Dms, DmsSettings
from heila_mosaik.actors.dms_functions import FunctionSettings
from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.forecast import ErrorModel, Injections, Knowledge
from heila_mosaik.domain.information import ActivationNotification, Message, ReserveNotification
from heila_mosaik.domain.market import MarketCalendar
from heila_mosaik.domain.quantities import Product, Quantity
from heila_mosaik.domain.telemetry import MeasurementModel, PositionPoints, standard_points
from heila_mosaik.domain.voltvar import Characteristic, Device, Inverter
from heila_mosaik.domain.voltvar.field import FieldUnits
from heila_mosaik.domain.voltvar.means import Curtailable, OwnMeans
from heila_mosaik.gridmodel import compile_net
from heila_mosaik.gridmodel.commands import CommandQueue, positions
from tests.actors.dms_lab import LOCATIONS, START, day_shape

WIND = "sgen.8"
ELEMENTS = ("trafo.0", "trafo.1", "shunt.0")


def wind_shape(moment: datetime) -> float:
    """Wind: calm at night, strong at noon."""
    hour = moment.hour + moment.minute / 60
    return 0.1 + 0.9 * float(np.exp(-(((hour - 12) / 3.0) ** 2)))


def net_with_means():
    """CIGRE MV with tap changers, a capacitor bank of three steps and a wind park of 9 MW at bus 8."""
    net = pn.create_cigre_network_mv(with_der="pv_wind")
    for column, value in (
        ("tap_side", "hv"), ("tap_neutral", 0), ("tap_min", -9), ("tap_max", 9), ("tap_step_percent", 1.5),
        ("tap_step_degree", 0.0), ("tap_pos", 0), ("tap_changer_type", "Ratio"),
    ):  # fmt: skip
        net.trafo[column] = value
    net.sgen.loc[8, ["bus", "p_mw", "sn_mva"]] = [8, 9.0, 9.0]
    net.sgen["q_mvar"] = 0.0
    pp.create_shunt(net, 10, q_mvar=-0.6, p_mw=0.0, step=0, max_step=3)
    return net


def means(*, inverters: bool = True, curtailment: bool = False) -> OwnMeans:
    """The lab's own means; bus positions are those of the net."""
    return OwnMeans(
        devices=(
            Device(elements=("trafo.0",), low=-9, high=9, wear_eur=2.0),
            Device(elements=("trafo.1",), low=-9, high=9, wear_eur=2.0),
            Device(elements=("shunt.0",), low=0, high=3, wear_eur=1.0),
        ),
        inverters=(
            Inverter(element=WIND, bus=8, s_max_mva=9.5, q_max_mvar=3.0, characteristic=Characteristic(
                vm_pu=(0.95, 0.98, 1.02, 1.05), share=(-1.0, 0.0, 0.0, 1.0))),
        ) if inverters else (),
        curtailable=(Curtailable(element=WIND, bus=8, rated_mw=9.0, price_eur_per_mwh=450.0),) if curtailment else (),
    )  # fmt: skip


class OwnLab:
    """Grid, telemetry and DMS in a loop; commands act at the next step."""

    def __init__(
        self,
        functions: FunctionSettings,
        *,
        step_s: int = 300,
        seed: int = 1,
        line_percent: float = 1e3,
        band: tuple[float, float] = (0.95, 1.05),
    ) -> None:
        net = net_with_means()
        self.step_s = step_s
        self.plant = compile_net(net)
        network = self.plant.network
        self.base = self.plant.default_input()
        self.units = FieldUnits(network.sgens.ids.tolist(), functions.means.inverters, functions.means.curtailable)
        self.queue = CommandQueue()
        loads = tuple(f"load.{key}" for key in network.loads.ids)
        sgens = tuple(f"sgen.{key}" for key in network.sgens.ids)

        def profile(grid):  # type: ignore[no-untyped-def]
            moments = [grid.at(row) for row in range(grid.count)]
            load = np.array([day_shape(moment) for moment in moments])[:, None]
            wind = np.array([wind_shape(moment) for moment in moments])[:, None]
            p = np.hstack((load * self.base.load_p_mw, -0.97 * wind * self.base.sgen_p_mw))
            return p, np.hstack((load * self.base.load_q_mvar, 0.0 * wind * self.base.sgen_p_mw))

        size = len(network.bus_ids)
        self.limits = replace(
            Limits.of(network),
            v_min_pu=np.full(size, band[0]),
            v_max_pu=np.full(size, band[1]),
            line_percent=np.full(len(network.lines.ids), line_percent),
            trafo_percent=np.full(len(network.trafos.ids), 1e3),
        )
        knowledge = Knowledge(
            injections=Injections(
                names=(*loads, *sgens),
                bus=np.concatenate((network.loads.bus, network.sgens.bus)),
                scale_mva=np.concatenate((network.loads.scale.clip(0.05), network.sgens.scale.clip(0.05))),
                profile=profile,
            ),
            locations=LOCATIONS,
            location_scale_mva=dict.fromkeys(LOCATIONS, 1.5),
            ext_vm_pu=np.array([1.03]),
            error=ErrorModel(relative=0.05, floor=0.02),
        )
        settings = DmsSettings(cycle_s=step_s, lead_s=float(step_s), settle_s=2.0 * step_s, validity_s=3.0 * step_s)
        self.dms = Dms(
            settings, compile_net(net), knowledge, MarketCalendar(zone="UTC"), limits=self.limits, functions=functions
        )
        meters = tuple(dict.fromkeys(u.element for u in (*functions.means.inverters, *functions.means.curtailable)))
        self.meter = MeasurementModel(
            network,
            "sau",
            standard_points(network, ("trafo.0", "trafo.1", "line.0", "line.10"), tuple(LOCATIONS), meters),
            np.random.default_rng(seed),
            period_s=step_s,
            positions=PositionPoints(cyclic=ELEMENTS),
        )
        self.noise = np.random.default_rng(seed + 100)
        self.calls: dict[str, ActivationNotification] = {}
        self.records: list[object] = []
        self.states: list[object] = []
        self.exchange: list[float] = []
        self.path: list[dict[str, float]] = []
        self.obeys = True

    def reserve(self, name: str, first_h: float, hours: float = 1.0, **changes: object) -> Message:
        start = START + timedelta(hours=first_h)
        fields = {
            "id": f"r/{name}/{first_h}", "offer": "o", "buyer": "dms", "seller": "ams", "location": name,
            "product": Product.CRP2, "start": start, "stop": start + timedelta(hours=hours), "p_min_mw": -1.5,
            "p_max_mw": 1.5, "q_min_mvar": 0.0, "q_max_mvar": 0.0, "price_eur_per_mwh": 60.0,
        }  # fmt: skip
        body = ReserveNotification(**(fields | changes))  # type: ignore[arg-type]
        return Message(id=f"m/{name}/{first_h}", sender="fmp", receiver="dms", sent_at=START, body=body)

    def events(self, event: str) -> list[object]:
        return [record for record in self.records if record.event == event]  # type: ignore[attr-defined]

    def switchings(self) -> Counter[str]:
        """Operations of each device in the plant."""
        return Counter(
            element
            for before, after in pairwise(self.path)
            for element in ELEMENTS
            if before[element] != after[element]
        )

    def run(self, start: datetime, hours: float, inbox: list[Message] | None = None) -> None:
        letters = list(inbox or [])
        for step in range(round(hours * 3600 / self.step_s)):
            now = start + timedelta(seconds=step * self.step_s)
            self.queue.execute(self.plant, now)
            measured = self._truth(now)
            outcome = self.dms.step(now, letters, measured)
            letters = []
            self.records += outcome.records
            for signal in outcome.controls if self.obeys else ():
                later = replace(signal, start=now + timedelta(seconds=self.step_s))
                if not self.units.take(later):
                    self.queue.take(later)
            for message in outcome.messages:
                if isinstance(message.body, ActivationNotification):
                    self.calls[message.body.reserve] = message.body

    def _truth(self, now: datetime):  # type: ignore[no-untyped-def]
        load = day_shape(now) * (1 + 0.005 * self.noise.standard_normal(len(self.base.load_p_mw)))
        given = replace(
            self.base,
            load_p_mw=self.base.load_p_mw * load,
            load_q_mvar=self.base.load_q_mvar * load,
            sgen_p_mw=self.base.sgen_p_mw * wind_shape(now),
        )
        _, applied = self.units.solve(self.plant, given, now)
        handed = dict(self.units.measured(applied))
        p, q = (values.copy() for values in self.plant.bus_injection(applied))
        for name, bus in LOCATIONS.items():
            moved = sum(
                call.p_mw for call in self.calls.values() if call.location == name and call.start <= now < call.stop
            )
            p[bus] += moved
            handed[name, Quantity.ACTIVE_POWER], handed[name, Quantity.REACTIVE_POWER] = moved, 0.0
        state = self.plant.solve_bus(p, q)
        self.states.append(state)
        self.exchange.append(float(state.ext_p_mw.sum()))
        at = positions(self.plant, ELEMENTS)
        self.path.append(at)
        return self.meter.measure(now, state, handed, at)
