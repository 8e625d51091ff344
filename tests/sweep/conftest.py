"""A sweep of very small runs: two steps of a grid where nobody trades."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SWEEP = """\
name: tiny
description: Growth of load on a benchmark grid
scenario: base.yaml
vary:
  - method: grid
    keys:
      growth.load: {low: 0.5, high: 1.0, steps: %d}
seeds: [1, 2]
analysis:
  - {kind: curve, x: growth.load, figure: energy.losses_mwh}
"""
BASE = """\
name: tiny
grid: cigre_mv
start: 2016-06-15T08:00:00+00:00
duration_h: 1
step_s: 1800
flexibility: false
"""


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[[int], Path]:
    """Writes the sweep file with some values of growth; each stands for two runs."""

    def write(values: int) -> Path:
        (tmp_path / "base.yaml").write_text(BASE, encoding="utf-8")
        path = tmp_path / "sweep.yaml"
        path.write_text(SWEEP % values, encoding="utf-8")
        return path

    return write
