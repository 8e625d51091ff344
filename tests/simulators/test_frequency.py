from datetime import UTC, datetime

from heila_mosaik.domain.quantities import Quantity
from heila_mosaik.simulators.frequency import Frequency

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_gives_one_value_a_step_and_holds_the_last():
    sim = Frequency()
    sim.init("f", 1.0, values_hz=(50.0, 49.9), receivers=("tso",), start=START, step_s=10)
    sim.create(1, "Frequency")
    seen = []
    for time in (0, 10, 20):
        assert sim.step(time, {}, time) == time + 10
        data = sim.get_data({"frequency": ["f[Hz]", "row", "measurements"]})["frequency"]
        reading = data["measurements"]["tso"]
        assert reading.value("grid", Quantity.FREQUENCY) == data["f[Hz]"] == data["row"][0]
        seen.append((reading.at.second, data["f[Hz]"]))
    assert seen == [(0, 50.0), (10, 49.9), (20, 49.9)]
