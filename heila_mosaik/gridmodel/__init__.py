"""The one place that reads pandapower: compile a net, check it, diagnose it, attach microgrids to it."""

from __future__ import annotations

from typing import Any

from heila_mosaik.gridmodel.diagnosis import Diagnosis, diagnose_divergence, load_net
from heila_mosaik.gridmodel.engine import CompiledGrid
from heila_mosaik.gridmodel.ladder import Rung
from heila_mosaik.gridmodel.microgrids import AttachedMicrogrid, MicrogridConnection, attach_microgrid
from heila_mosaik.gridmodel.truth import replay


def compile_net(net: Any, name: str = "") -> CompiledGrid:
    """Compile a pandapower net for fast power flows.

    Args:
        net: pandapower net; not changed.
        name: Name of the grid, by default the net's own.

    Returns:
        Engine that follows :class:`heila_mosaik.domain.network.GridEngine`.

    Raises:
        ProblemsError: If the power flow of the net as it stands does not converge.
    """
    return CompiledGrid(net, name)


__all__ = [
    "AttachedMicrogrid",
    "CompiledGrid",
    "Diagnosis",
    "MicrogridConnection",
    "Rung",
    "attach_microgrid",
    "compile_net",
    "diagnose_divergence",
    "load_net",
    "replay",
]
