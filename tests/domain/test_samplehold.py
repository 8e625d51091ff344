from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from heila_mosaik.domain.quantities import Quality, Quantity
from heila_mosaik.domain.samplehold import Slots

P = ("der", Quantity.ACTIVE_POWER)
EVENTS = st.lists(
    st.tuples(
        st.one_of(st.floats(-1e3, 1e3), st.sampled_from([math.nan, math.inf, -math.inf])),
        st.sampled_from([Quality.GOOD, Quality.QUESTIONABLE, Quality.INVALID]),
        st.floats(0.0, 20.0),
    ),
    max_size=30,
)


@given(EVENTS)
def test_a_slot_holds_the_last_good_number_with_the_quality_of_the_newest(events):
    slots, now, held, good_at, quality = Slots({P: 10.0}), 0.0, math.nan, -math.inf, Quality.MISSING
    for value, told, pause in events:
        now += pause
        slots.put(P, value, told, now)
        quality = Quality.INVALID if told is Quality.GOOD and not math.isfinite(value) else told
        if quality is Quality.GOOD:
            held, good_at = value, now
    sample = slots.sample(now)[P]
    if math.isnan(held):
        assert math.isnan(sample.value)
        assert sample.age_s == math.inf
        assert slots.missing() == (P,)
        return
    assert sample.value == held
    assert sample.age_s == now - good_at
    assert sample.quality is quality
    assert slots.missing() == ()


def test_a_good_value_grows_questionable_but_stays():
    slots = Slots({P: 10.0})
    slots.put(P, 0.3, Quality.GOOD, 5.0)
    assert slots.sample(15.0)[P].quality is Quality.GOOD
    stale = slots.sample(15.1)[P]
    assert (stale.value, stale.quality) == (0.3, Quality.QUESTIONABLE)


def test_what_has_no_slot_is_left_out():
    slots = Slots({P: 10.0})
    slots.put(("other", Quantity.ACTIVE_POWER), 1.0, Quality.GOOD, 0.0)
    assert list(slots.sample(0.0)) == [P]
