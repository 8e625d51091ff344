"""Every information object survives JSON."""

import json
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import UnionType
from typing import get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heila_mosaik.domain.codec import (
    KINDS,
    CodecError,
    from_json_dict,
    message_from_json_dict,
    message_to_json_dict,
    to_json_dict,
)
from heila_mosaik.domain.information import ControlSignal, Measurements, Message, PQProfile
from heila_mosaik.domain.quantities import Quality, Quantity
from tests.domain.fitting import fitted

T0 = datetime(2024, 6, 1, tzinfo=UTC)
NUMBERS = st.floats(allow_nan=False)
TIMES = st.integers(0, 2**31).map(lambda second: datetime.fromtimestamp(second, UTC))


def strategy(hint):
    if get_origin(hint) is UnionType:
        return st.none() | strategy(next(part for part in get_args(hint) if part is not type(None)))
    if get_origin(hint) is tuple:
        return st.lists(strategy(get_args(hint)[0]), max_size=3).map(tuple)
    if hint is PQProfile:
        series = [st.lists(NUMBERS, min_size=n, max_size=n).map(tuple) for n in (2,) * 6]
        names = [field.name for field in fields(PQProfile)][2:]
        return st.builds(PQProfile, start=TIMES, step_s=st.integers(1, 3600), **dict(zip(names, series, strict=True)))
    if is_dataclass(hint):
        return instance(hint)
    if issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    return {float: NUMBERS, datetime: TIMES, str: st.text(max_size=5), int: st.integers(), bool: st.booleans()}[hint]


def instance(cls):
    hints = get_type_hints(cls)
    parts = {field.name: strategy(hints[field.name]) for field in fields(cls)}

    def build(values):
        if "start" in values and "stop" in values:
            values["stop"] = values["start"] + timedelta(hours=1)
        return cls(**fitted(cls, values))

    return st.fixed_dictionaries(parts).map(build)


@pytest.mark.parametrize("kind", list(KINDS))
@settings(max_examples=15, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_round_trip_through_json_text(kind, data):
    original = data.draw(instance(KINDS[kind]))
    text = json.dumps(to_json_dict(original), allow_nan=False)
    assert from_json_dict(kind, json.loads(text)) == original


def test_all_twelve_objects_of_the_paper_are_known():
    assert len(KINDS) >= 12
    assert "InformationObject" not in KINDS


def test_missing_values_travel_as_nan():
    original = Measurements(
        id="m",
        source="sau",
        at=T0,
        elements=("bus.1",),
        quantities=(Quantity.VOLTAGE,),
        values=(float("nan"),),
        sigmas=(float("inf"),),
        qualities=(Quality.MISSING,),
        ages_s=(0.0,),
    )
    back = from_json_dict("Measurements", json.loads(json.dumps(to_json_dict(original), allow_nan=False)))
    assert back.values[0] != back.values[0]
    assert back.sigmas == (float("inf"),)


def signal(**changes):
    return {**to_json_dict(ControlSignal(id="c", target="b", start=T0, stop=T0 + timedelta(minutes=1))), **changes}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (signal(extra=1), "extra"),
        ({"id": "c"}, "missing"),
        (signal(p_mw="1.5"), "expected a number"),
        (signal(p_mw=True), "expected a number"),
        (signal(closed=1), "true or false"),
        (signal(start="2024-06-01T00:00:00"), "no time zone"),
        (signal(start="yesterday"), "start"),
        (signal(stop=signal()["start"]), "not before"),
        ([], "expected an object"),
    ],
)
def test_what_does_not_fit_is_refused(given, reason):
    with pytest.raises(CodecError, match=reason):
        from_json_dict("ControlSignal", given)


def test_unknown_kind_is_refused():
    with pytest.raises(CodecError, match="unknown kind"):
        from_json_dict("Problem", {})


def test_message_round_trip():
    body = ControlSignal(id="c", target="b", start=T0, stop=T0 + timedelta(minutes=1), p_mw=0.25)
    message = Message(id="dms-1", sender="dms", receiver="ams", sent_at=T0, body=body)
    assert message_from_json_dict(json.loads(json.dumps(message_to_json_dict(message)))) == message
    with pytest.raises(CodecError):
        message_from_json_dict({"id": "x"})


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("VerificationNotification", {"measured_p_mw": []}),
        ("WeatherForecast", {"wind_m_per_s": [1.0]}),
        ("PriceForecast", {"step_s": 0}),
        ("OfferList", {"relief_per_eur": [1.0]}),
    ],
)
def test_columns_that_do_not_fit_each_other_are_refused(kind, changes):
    moment = T0.isoformat()
    two = [1.0, 2.0]
    verified = ("baseline_p_mw", "measured_p_mw", "requested_p_mw", "baseline_q_mvar", "measured_q_mvar",
                "requested_q_mvar")  # fmt: skip
    grid = {"issued_at": moment, "start": moment, "step_s": 900}
    period = {"start": moment, "stop": (T0 + timedelta(hours=1)).isoformat(), "step_s": 1800}
    weather = ("temperature_c", "irradiance_w_per_m2", "wind_m_per_s")
    prices = ("spot_eur_per_mwh", "flexibility_up_eur_per_mwh", "flexibility_down_eur_per_mwh")
    whole = {
        "VerificationNotification": {
            "reserve": "r", "location": "l", "baseline_method": "operation_plan", **period,
            **dict.fromkeys(verified, two)
        },
        "WeatherForecast": {**grid, **dict.fromkeys(weather, two)},
        "PriceForecast": {**grid, **dict.fromkeys(prices, two)},
        "OfferList": {"request": "r", "session": "day_ahead", "offers": [], "relief_per_eur": []},
    }[kind]  # fmt: skip
    assert from_json_dict(kind, {"id": "x", **whole})
    with pytest.raises(CodecError, match=r"lengths|step"):
        from_json_dict(kind, {"id": "x", **whole, **changes})
