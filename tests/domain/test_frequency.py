import numpy as np
import pytest

from heila_mosaik.domain.frequency import FrequencyStatistics, generate_frequency, minutes_outside

YEAR_MIN = 525_600


@pytest.mark.parametrize("step_s", [10, 60])
def test_a_year_has_the_stated_statistics_at_any_step(step_s):
    hertz = generate_frequency(YEAR_MIN * 60 // step_s, step_s, np.random.default_rng(7))
    assert hertz.mean() == pytest.approx(50.0, abs=1e-3)
    assert hertz.std() == pytest.approx(0.0456, rel=0.02)
    # the most that the system operation guideline allows the Nordic area in a year
    assert minutes_outside(hertz, step_s) == pytest.approx(15_000, rel=0.06)


def test_a_deviation_has_died_out_after_the_time_to_restore():
    hertz = generate_frequency(400_000, 10, np.random.default_rng(3)) - 50.0

    def correlation(lag_s):
        lag = lag_s // 10
        return float(np.corrcoef(hertz[:-lag], hertz[lag:])[0, 1])

    expected = {lag: 0.8 * np.exp(-lag / 300.0) + 0.2 * np.exp(-lag / 60.0) for lag in (60, 300, 900)}
    for lag, value in expected.items():
        assert correlation(lag) == pytest.approx(value, abs=0.03)


def test_the_seed_alone_decides():
    first, again, other = (generate_frequency(100, 60, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_quiet_statistics_stay_in_range():
    calm = generate_frequency(10_000, 60, np.random.default_rng(1), FrequencyStatistics(std_hz=0.01))
    assert minutes_outside(calm, 60) == 0.0
