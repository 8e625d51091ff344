# ruff: noqa: PLW0108
"""Hypothesis strategies for every information object."""

import dataclasses
import math
import types
import typing
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from hypothesis import strategies as st

from heila_mosaik.bridges.smartapi.table import MESSAGES, NUMBERS, RANGE_OWNERS
from heila_mosaik.domain import information as info
from heila_mosaik.domain.quantities import Quality, Quantity
from tests.domain.fitting import fitted

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
names = st.text('abcdefgXYZ 0123456789/-_.äß"\\<>%#漢', min_size=1, max_size=12)
moments = st.integers(0, 3 * 10**15).map(lambda us: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=us))
floats = st.floats(-1e6, 1e6, allow_nan=False)


def number(name):
    declared = NUMBERS.get(name)
    low = -1e6 if declared is None or math.isinf(declared.low) else declared.low
    high = 1e6 if declared is None or math.isinf(declared.high) else declared.high
    return st.floats(low, high, allow_nan=False)


def value(draw, name, hint, count):
    if isinstance(hint, types.UnionType):
        inner = typing.get_args(hint)[0]
        return draw(st.one_of(st.none(), st.deferred(lambda: st.composite(lambda d: value(d, name, inner, count))())))
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if item is float:
            return tuple(draw(st.lists(number(name), min_size=count, max_size=count)))
        if item is str:
            return tuple(draw(st.lists(texts, min_size=count, max_size=count)))
        return tuple(draw(st.lists(build(item), max_size=3)))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return draw(st.sampled_from(list(hint)))
    if hint is float:
        return draw(number(name))
    return draw({str: texts, bool: st.booleans(), int: st.integers(1, 86400), datetime: moments}[hint])


@st.composite
def build(draw, cls):
    hints = typing.get_type_hints(cls)
    count = draw(st.integers(0, 4))
    values = {}
    for field in dataclasses.fields(cls):
        if hints[field.name] is info.PQProfile:
            values[field.name] = draw(build(info.PQProfile))
        elif field.name == "id":
            values["id"] = draw(names)
        else:
            values[field.name] = value(draw, field.name, hints[field.name], count)
    if "start" in values and "stop" in values:
        values["stop"] = values["start"] + timedelta(seconds=draw(st.integers(1, 10**6)))
    for low, high in (("p_min_mw", "p_max_mw"), ("q_min_mvar", "q_max_mvar")):
        if isinstance(values.get(low), tuple):
            pairs = [sorted(pair) for pair in zip(values[low], values[high], strict=True)]
            values[low], values[high] = tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)
        elif low in values and cls.__name__ in RANGE_OWNERS:
            values[low], values[high] = -abs(values[low]), abs(values[high])
    return cls(**fitted(cls, values))


@st.composite
def measurements(draw):
    count = draw(st.integers(0, 5))

    def many(items):
        return tuple(draw(st.lists(items, min_size=count, max_size=count)))

    qualities = many(st.sampled_from(list(Quality)))
    return info.Measurements(
        id=draw(names), source=draw(texts), at=draw(moments), elements=many(texts),
        quantities=many(st.sampled_from(list(Quantity))),
        values=many(floats), sigmas=many(st.floats(0, 1e3)), qualities=qualities, ages_s=many(st.floats(0, 1e6)),
    )  # fmt: skip


bodies = st.one_of(*[measurements() if cls is info.Measurements else build(cls) for cls in MESSAGES])
messages = st.builds(info.Message, id=names, sender=names, receiver=names, sent_at=moments, body=bodies)
