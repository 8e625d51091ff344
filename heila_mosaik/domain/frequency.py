"""Stated, seeded generator of the frequency of the Nordic synchronous area.

It is a generator of plausible series, not a replay of any real day; the user's own series comes through a file.

* Standard deviation 45.6 mHz: a Gaussian with it leaves the standard range of +-100 mHz for 15 000 minutes in a year,
  the most that Regulation (EU) 2017/1485 (system operation guideline), annex III, tables 1 and 2, allows the Nordic
  area.
* Four fifths of the variance last 300 s: a deviation has died out (three time constants) after 15 minutes, the *time to
  restore frequency* of the same annex.  The rest lasts 60 s: what FCR-N takes back within the three minutes it has for
  full activation (Fingrid, terms of FCR; ENTSO-E, *Technical Requirements for Frequency Containment Reserve Provision
  in the Nordic Synchronous Area*, 2023).

Real frequency is not quite Gaussian (Schaefer et al. 2018, doi 10.1038/s41560-017-0058-z) and shifts at full hours with
the market; neither is modelled.  The split of the variance is declared here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.weather import ar1

NOMINAL_HZ = 50.0
STANDARD_RANGE_HZ = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class FrequencyStatistics:
    """Statistics of the frequency.

    Attributes:
        std_hz: Standard deviation. [Hz]
        slow_s, fast_s: Correlation times of the two parts. [s]
        fast_share: Share of the variance in the fast part. [1]
    """

    std_hz: float = 0.0456
    slow_s: float = 300.0
    fast_s: float = 60.0
    fast_share: float = 0.2


def generate_frequency(
    count: int, step_s: int, rng: np.random.Generator, statistics: FrequencyStatistics | None = None
) -> FloatArray:
    """Frequency at ``count`` moments ``step_s`` apart. [Hz] (count,)

    The process is sampled exactly: its statistics do not depend on the step.
    """
    given = statistics or FrequencyStatistics()
    slow = ar1(count, step_s, given.slow_s / 3600.0, rng)
    fast = ar1(count, step_s, given.fast_s / 3600.0, rng)
    unit = np.sqrt(1.0 - given.fast_share) * slow + np.sqrt(given.fast_share) * fast
    return NOMINAL_HZ + given.std_hz * unit


def minutes_outside(frequency_hz: FloatArray, step_s: float) -> float:
    """Time outside the standard frequency range. [min]"""
    return float((np.abs(frequency_hz - NOMINAL_HZ) > STANDARD_RANGE_HZ).sum()) * step_s / 60.0
