"""The README's Python examples run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pandapower as pp
import pandapower.networks as pn
import pytest

BLOCKS = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_grid_alone_gives_the_voltages_of_pandapower():
    [code] = [block for block in BLOCKS if "mosaik.World" in block]
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    result = names["result"]
    assert len(result) == 1000
    net = pn.create_cigre_network_mv()
    for time in (0, 59_940):
        net.load.loc[2, "p_mw"] = 0.3 + time / 1e6
        pp.runpp(net)
        [voltage] = result[time]["Vm[pu]"].values()
        assert voltage == pytest.approx(net.res_bus.vm_pu.at[11], abs=1e-7)
