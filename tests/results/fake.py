"""A small synthetic study written through the real store: four buses, one overload, one reserve."""

from datetime import UTC, datetime, timedelta

import numpy as np

from heila_mosaik.actors.base import Record
from heila_mosaik.domain.information import (
    ActivationNotification,
    ActivationRefusal,
    Bid,
    CongestionKind,
    FlexibilityRequest,
    Message,
    Need,
    Offer,
    OfferList,
    Purchase,
    ReserveNotification,
    Session,
    SettlementStatement,
    VerificationNotification,
)
from heila_mosaik.domain.quantities import Product
from heila_mosaik.results.store import RunStore

START = datetime(2024, 6, 1, tzinfo=UTC)
STEP_S = 300
STEPS = 288
BUSES = ["0", "1", "2", "3"]
YAML = "name: fake\ndescription: A synthetic day\ngrid: fake\nseed: 7\nmarket:\n  clearing: pay_as_bid\n"
GRID = {
    "name": "fake",
    "buses": {
        "id": [0, 1, 2, 3],
        "name": ["substation", "north", "east", "south"],
        "vn_kv": [20.0] * 4,
        "v_min_pu": [0.95] * 4,
        "v_max_pu": [1.05] * 4,
        "x": [0.0, 1.0, 2.0, 2.0],
        "y": [0.0, 0.0, 0.6, -0.6],
    },
    "lines": {
        "id": [0, 1, 2],
        "name": ["a", "b", "c"],
        "from_bus": [0, 1, 1],
        "to_bus": [1, 2, 3],
        "max_loading_percent": [100.0] * 3,
    },
    "trafos": {"id": [], "name": [], "from_bus": [], "to_bus": [], "max_loading_percent": []},
    "microgrids": [
        {
            "name": "mg_east",
            "label": "East",
            "bus": 2,
            "resources": [{"name": "pv", "kind": "pv", "table": "sgen", "element": 0}],
        }
    ],
}


def bump(height, sharpness=2.0):
    hours = np.arange(STEPS) * STEP_S / 3600
    return height * np.exp(-((hours - 12.0) ** 2) / sharpness)


def at(hour):
    return START + timedelta(hours=hour)


def write_series(store, relief):
    bus = store.series("bus_vm_pu", BUSES)
    line = store.series("line_loading_percent", ["0", "1", "2"])
    system = store.series("system", ["losses_mw", "iterations", "converged"])
    ext = store.series("ext_p_mw", ["0"])
    estimate = store.series("estimate_vm_pu", BUSES)
    resource = store.series("resource_p_mw", ["pv"])
    peak, noise = bump(60.0 - relief), np.random.default_rng(3).normal(0, 2e-4, (STEPS, 4))
    for k in range(STEPS):
        time_s = int(START.timestamp()) + k * STEP_S
        volts = 1.0 + np.array([0.0, 0.01, 0.055, 0.02]) * peak[k] / 60.0
        bus.append(time_s, volts)
        estimate.append(time_s, volts + noise[k])
        line.append(time_s, [30.0 + peak[k] * 0.6, 55.0 + peak[k], 20.0])
        system.append(time_s, [0.01 + peak[k] * 1e-4, 3, 1])
        ext.append(time_s, [1.0 - peak[k] / 60])
        resource.append(time_s, [-peak[k] / 60])


def bodies():
    offers = tuple(
        Offer(
            id=f"ams/offer/{k}", seller="ams", location="mg_east" if k < 2 else "mg_far", product=Product.CRP,
            session=Session.DAY_AHEAD, start=at(10), stop=at(14), submitted_at=at(1), p_min_mw=0.0,
            p_max_mw=0.2 + 0.1 * k, price_eur_per_mwh=40.0 + 15 * k,
        )
        for k in range(4)
    )  # fmt: skip
    need = Need(
        element="line.1", kind=CongestionKind.CURRENT, start=at(11), stop=at(13), excess=15.0,
        locations=("mg_east",), effect_p=(30.0,), effect_q=(0.0,),
    )  # fmt: skip
    request = FlexibilityRequest(
        id="dms/request/1", buyer="dms", session=Session.DAY_AHEAD, start=at(10), stop=at(14), needs=(need,)
    )
    yield at(2), "dms", "fmp", request
    yield at(1), "ams", "fmp", offers[0]
    yield (
        at(3),
        "fmp",
        "dms",
        OfferList(
            id="fmp/list/1",
            request=request.id,
            session=Session.DAY_AHEAD,
            offers=offers,
            relief_per_eur=(4.0, 3.0, 2.0, 1.0),
        ),
    )
    purchases = tuple(Purchase(offer=offer.id, p_min_mw=0.0, p_max_mw=offer.p_max_mw) for offer in offers[:2])
    yield at(3.5), "dms", "fmp", Bid(
        id="dms/bid/1", buyer="dms", request=request.id, session=Session.DAY_AHEAD, submitted_at=at(3.5),
        purchases=purchases, limit_eur_per_mwh=500.0,
    )  # fmt: skip
    reserve = ReserveNotification(
        id="fmp/reserve/1", offer=offers[0].id, buyer="dms", seller="ams", location="mg_east", product=Product.CRP,
        start=at(10), stop=at(14), p_min_mw=0.0, p_max_mw=0.5, price_eur_per_mwh=55.0,
    )  # fmt: skip
    yield at(4), "fmp", "ams", reserve
    yield at(4), "fmp", "dms", reserve
    for k, power in enumerate((0.2, 0.45, 0.25)):
        call = ActivationNotification(
            id=f"dms/activation/{k}", reserve=reserve.id, location="mg_east", start=at(11 + k * 0.7),
            stop=at(13.5), p_mw=power, q_mvar=0.0,
        )  # fmt: skip
        yield at(11 + k * 0.7), "dms", "ams", call
        yield at(11 + k * 0.7), "ams", "mg_east", call
    yield at(12), "dms", "ams", ActivationRefusal(
        id="dms/refusal/1", reserve=reserve.id, refused_by="dms", p_mw=0.05, q_mvar=0.0, start=at(12), stop=at(12.1),
        reason="raising 0.05 MW at mg_east would load line.0 to 101.2 %, above its limit of 100 %",
    )  # fmt: skip
    zeros = (0.0,) * 10
    check = VerificationNotification(
        id="mg/verification/1", reserve=reserve.id, location="mg_east", start=at(11), stop=at(13.5), step_s=900,
        baseline_method="operation_plan", baseline_p_mw=zeros, measured_p_mw=(0.19,) * 3 + (0.44,) * 3 + (0.25,) * 4,
        requested_p_mw=(0.2,) * 10, baseline_q_mvar=zeros, measured_q_mvar=zeros, requested_q_mvar=zeros,
    )  # fmt: skip
    yield at(14), "mg_east", "ams", check
    statement = SettlementStatement(
        id="fmp/statement/1", reserve=reserve.id, verification=check.id, payer="dms", payee="ams", start=at(11),
        stop=at(13.5), requested_mwh=0.8, delivered_mwh=0.78, availability_eur=1.0, activation_eur=42.9,
        reactive_eur=0.0, penalty_eur=0.5, success=True,
    )  # fmt: skip
    yield at(15), "fmp", "dms", statement
    yield at(15), "fmp", "ams", statement


def write_messages(store):
    for k, (moment, sender, receiver, body) in enumerate(bodies()):
        message = Message(id=f"{sender}-{k}", sender=sender, receiver=receiver, sent_at=moment, body=body)
        lost = receiver == "mg_east" and k % 2
        delivered = None if lost else moment + timedelta(milliseconds=40 + k)
        store.message(message, delivered_at=delivered, status="lost" if lost else "delivered")
    store.record(
        Record(
            at=at(12),
            actor="dms",
            event="activation_withheld",
            detail="line.0 would pass its limit",
            values={"p_mw": 0.1},
        )
    )


def write_study(folder, *, part_rows=100, baseline=True):
    with RunStore(folder, scenario_yaml=YAML, name="fake", seed=7, part_rows=part_rows, min_free_mb=0) as store:
        store.write_json("grid.json", GRID)
        if baseline:
            with RunStore(
                folder / "baseline", scenario_yaml=YAML, name="fake", seed=7, part_rows=part_rows, min_free_mb=0
            ) as base:
                base.write_json("grid.json", GRID)
                write_series(base, relief=0.0)
        write_series(store, relief=20.0)
        write_messages(store)
    return folder
