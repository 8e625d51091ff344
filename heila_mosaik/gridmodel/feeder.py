"""A feeder of two buses, for laboratories and examples."""

from __future__ import annotations

import copy
import functools

import pandapower as pp

from heila_mosaik.gridmodel.engine import CompiledGrid


def compile_feeder(*, vn_kv: float, length_km: float, r_ohm_per_km: float, x_ohm_per_km: float) -> CompiledGrid:
    """Compile a feeder: stiff source, one line, one load bus with a load.

    Args:
        vn_kv: Nominal voltage. [kV]
        length_km: Length of the line. [km]
        r_ohm_per_km: Resistance. [ohm/km]
        x_ohm_per_km: Reactance. [ohm/km]

    Returns:
        Engine with one external grid, one line and one load.
    """
    # Compiling costs 0.4 s, copying a twentieth: laboratories are made by the dozen in campaigns.
    return copy.deepcopy(_compiled(vn_kv, length_km, r_ohm_per_km, x_ohm_per_km))


@functools.lru_cache(maxsize=8)
def _compiled(vn_kv: float, length_km: float, r_ohm_per_km: float, x_ohm_per_km: float) -> CompiledGrid:
    net = pp.create_empty_network(name="feeder")
    source, end = pp.create_bus(net, vn_kv), pp.create_bus(net, vn_kv)
    pp.create_ext_grid(net, source)
    pp.create_line_from_parameters(net, source, end, length_km, r_ohm_per_km, x_ohm_per_km, 10.0, 0.4)
    pp.create_load(net, end, 0.0, 0.0)
    return CompiledGrid(net, "feeder")
