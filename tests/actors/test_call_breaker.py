from __future__ import annotations

from datetime import UTC, datetime, timedelta

from heila_mosaik.actors.call_breaker import CallBreaker
from heila_mosaik.domain.information import ControlSignal, Measurements
from heila_mosaik.domain.quantities import Quality, Quantity

T0 = datetime(2016, 8, 22, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CALL = ControlSignal(id="c", target="der", start=T0 + 5 * MINUTE, stop=T0 + 20 * MINUTE, p_mw=0.3)


def _seen(minute: int, closed: float, p_mw: float = 0.0) -> Measurements:
    return Measurements(
        id="m", source="ied", at=T0 + minute * MINUTE, elements=("der", "cb"),
        quantities=(Quantity.ACTIVE_POWER, Quantity.BREAKER), values=(p_mw, closed), sigmas=(0.0, 0.0),
        qualities=(Quality.GOOD,) * 2, ages_s=(0.0, 0.0),
    )  # fmt: skip


class _Bay:
    """Breaker and unit behind it: an order is seen one minute later; a set point moves the unit while connected."""

    def __init__(self, obeys: bool = True):
        self.switch = CallBreaker("cb", ("der",), settle=3 * MINUTE)
        self.closed, self.obeys, self.orders = 1.0, obeys, []

    def minute(self, number: int, calls=(), p_mw: float | None = None) -> None:
        effect = T0 + (number + 1) * MINUTE
        called = any(c.start <= effect - MINUTE < c.stop for c in calls)
        power = (0.3 if called and self.closed else 0.0) if p_mw is None else p_mw
        order = self.switch.decide(_seen(number, self.closed, power), calls, effect)
        if order is not None:
            self.orders.append((number, order))
            if self.obeys:
                self.closed = float(order)


def test_it_opens_at_rest_closes_for_the_call_and_opens_after_it():
    bay = _Bay()
    for number in range(30):
        bay.minute(number, [CALL] if number < 20 else [])
    assert bay.orders == [(0, False), (4, True), (20, False)]


def test_it_is_not_opened_under_load():
    bay = _Bay()
    for number in range(6):
        bay.minute(number, p_mw=0.2)
    assert bay.orders == []
    bay.minute(6, p_mw=0.0)
    assert bay.orders == [(6, False)]


def test_after_a_trip_during_the_call_it_stays_open_until_the_next_call():
    bay = _Bay()
    for number in range(12):
        bay.minute(number, [CALL])
    bay.closed = 0.0
    for number in range(12, 30):
        bay.minute(number, [CALL] if number < 20 else [])
    assert [order for _, order in bay.orders] == [False, True]
    later = ControlSignal(id="c2", target="der", start=T0 + 35 * MINUTE, stop=T0 + 50 * MINUTE, p_mw=0.3)
    for number in range(30, 40):
        bay.minute(number, [later])
    assert bay.orders[-1] == (34, True)


def test_a_position_never_reached_is_asked_for_again():
    bay = _Bay(obeys=False)
    for number in range(8):
        bay.minute(number)
    assert bay.orders == [(0, False), (3, False), (6, False)]


def test_a_call_right_after_another_does_not_trust_the_position_before_the_last_order():
    first = ControlSignal(id="c", target="der", start=T0 + 5 * MINUTE, stop=T0 + 10 * MINUTE, p_mw=0.3)
    second = ControlSignal(id="c2", target="der", start=T0 + 12 * MINUTE, stop=T0 + 20 * MINUTE, p_mw=0.3)
    switch, orders = CallBreaker("cb", ("der",), settle=3 * MINUTE), []
    for number in range(16):
        # The report says closed all the time: the position is two minutes old.
        call = [first] if number < 10 else [second]
        found = switch.decide(_seen(number, 0.0 if number < 6 else 1.0), call, T0 + (number + 1) * MINUTE)
        orders += [] if found is None else [(number, found)]
    assert (11, True) in orders
