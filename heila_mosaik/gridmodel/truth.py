"""pandapower as the oracle: results of a net as a :class:`GridState`, and replay of recorded inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandapower as pp

from heila_mosaik.domain.network import GridInput, GridState
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.gridmodel.tables import write_input

_BRANCH_TABLES = ("line", "trafo", "trafo3w", "impedance", "xward")


def read_state(net: Any, converged: bool = True) -> GridState:
    """Results of pandapower's last power flow; all NaN when it did not converge."""

    def take(table: str, name: str) -> FloatArray:
        if not converged:
            return np.full(len(net[table.removeprefix("res_")]), np.nan)
        return net[table][name].to_numpy(float, copy=True) if len(net[table]) else np.zeros(0)

    lost = [
        float(np.nansum(net[f"res_{table}"]["pl_mw"]))
        for table in _BRANCH_TABLES
        if converged and len(net[table]) and "pl_mw" in net[f"res_{table}"]
    ]
    return GridState(
        converged=converged,
        method="pandapower" if converged else "diverged",
        iterations=int(net._ppc.get("iterations", 0)) if converged else 0,  # noqa: SLF001
        vm_pu=take("res_bus", "vm_pu"),
        va_degree=take("res_bus", "va_degree"),
        p_bus_mw=take("res_bus", "p_mw"),
        q_bus_mvar=take("res_bus", "q_mvar"),
        line_loading_percent=take("res_line", "loading_percent"),
        line_i_ka=take("res_line", "i_ka"),
        line_p_from_mw=take("res_line", "p_from_mw"),
        line_q_from_mvar=take("res_line", "q_from_mvar"),
        line_i_from_ka=take("res_line", "i_from_ka"),
        trafo_loading_percent=take("res_trafo", "loading_percent"),
        trafo_p_hv_mw=take("res_trafo", "p_hv_mw"),
        trafo_q_hv_mvar=take("res_trafo", "q_hv_mvar"),
        trafo_i_hv_ka=take("res_trafo", "i_hv_ka"),
        trafo3w_loading_percent=take("res_trafo3w", "loading_percent"),
        ext_p_mw=take("res_ext_grid", "p_mw"),
        ext_q_mvar=take("res_ext_grid", "q_mvar"),
        losses_mw=sum(lost) if converged else float("nan"),
    )


def replay(
    net: Any, inputs: Iterable[GridInput], prepare: Callable[[Any, int], None] | None = None
) -> Iterator[GridState]:
    """Run pandapower's own power flow for recorded inputs: the truth a run is checked against.

    Args:
        net: pandapower net; not changed.
        inputs: Recorded inputs.
        prepare: Called with the private net and the number of the step before each power flow, for example to set
            taps and switches.

    Yields:
        One state per input; ``converged=False`` where pandapower diverges.
    """
    private = copy.deepcopy(net)
    for step, given in enumerate(inputs):
        write_input(private, given)
        if prepare is not None:
            prepare(private, step)
        try:
            pp.runpp(private)
        except pp.LoadflowNotConverged:
            yield read_state(private, converged=False)
        else:
            yield read_state(private)
