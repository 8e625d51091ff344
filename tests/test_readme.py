"""The README's examples run as they stand; its commands are looked at by ``tests/docs/test_pages.py``."""

from __future__ import annotations

import re
from pathlib import Path

import pandapower as pp
import pandapower.networks as pn
import pytest

from heila_mosaik.study.loader import load_scenario

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(marker: str) -> dict[str, object]:
    """Run the one Python block that holds the marker; returns its names."""
    [code] = [block for block in BLOCKS if marker in block]
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


def test_the_grid_alone_gives_the_voltages_of_pandapower():
    result = run("mosaik.World")["result"]
    assert len(result) == 1000
    net = pn.create_cigre_network_mv()
    for time in (0, 59_940):
        net.load.loc[2, "p_mw"] = 0.3 + time / 1e6
        pp.runpp(net)
        [voltage] = result[time]["Vm[pu]"].values()
        assert voltage == pytest.approx(net.res_bus.vm_pu.at[11], abs=1e-7)


def test_a_run_folder_is_read_as_shown(congested, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(congested.path)
    monkeypatch.chdir(tmp_path)
    names = run("RunFolder(")
    assert len(names["voltages"]) == 32
    assert len(names["offers"]) > 0


def test_scenarios_shown_are_sound(tmp_path):
    shown = [block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "extends:" in block]
    assert shown
    for number, block in enumerate(shown):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block.replace("extends: ", f"extends: {ROOT / 'scenarios'}/"), encoding="utf-8")
        assert load_scenario(path).scenario.name


def test_every_python_block_is_run():
    known = [block for block in BLOCKS if "mosaik.World" in block or "RunFolder(" in block]
    assert known == BLOCKS, "README.md has a Python example that no test here runs: add one"
