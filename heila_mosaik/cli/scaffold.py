"""Files to start from."""

from __future__ import annotations

import shutil
from difflib import get_close_matches
from pathlib import Path

from heila_mosaik.errors import Problem, ProblemsError

_SCENARIO = """\
# {name}: check it with 'heila check {path}', run it with 'heila run {path}'.
# Every key with its unit and default: 'heila schema'.
name: {name}
description: One day of flexibility on {grid}
grid: {grid}
start: 2016-06-15T00:00:00+00:00
duration_h: 24
step_s: 60
seed: 1

dms:
  cycle_s: 60
market:
  clearing: pay_as_bid
  product: CRP
"""


def write_scenario(path: Path, grid: str) -> Path:
    """Write a scenario file; never overwrites.

    Raises:
        ProblemsError: If the file exists.
    """
    _must_not_exist(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_SCENARIO.format(name=path.stem, path=path, grid=grid), encoding="utf-8")
    return path


def copy_grid(path: Path, source: str) -> Path:
    """Copy a grid folder as a start for an own one; its checksums stay behind, since the files will change.

    Raises:
        ProblemsError: If the folder exists or the source does not.
    """
    _must_not_exist(path)
    roots = (Path.cwd() / "grids", Path(__file__).resolve().parents[2] / "grids")
    places = [Path(source), *(root / source for root in roots)]
    found = next((place for place in places if (place / "microgrids.yaml").is_file()), None)
    if found is None:
        known = sorted({place.name for root in roots if root.is_dir() for place in root.iterdir() if place.is_dir()})
        near = get_close_matches(source, known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known grids: {', '.join(known) or 'none'}"
        problem = Problem(what=f"no grid folder {source!r}", where="--from", remedy=remedy)
        raise ProblemsError("new grid", [problem])
    shutil.copytree(found, path, ignore=shutil.ignore_patterns("checksums.sha256"))
    return path


def _must_not_exist(path: Path) -> None:
    if path.exists():
        problem = Problem(what="exists already", where=str(path), remedy="choose another name or remove it")
        raise ProblemsError("new", [problem])
