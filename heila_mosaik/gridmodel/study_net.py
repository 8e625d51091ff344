"""The net of a study: a frozen net grown, limited and extended with microgrids, and what its elements follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.gridmodel.diagnosis import load_net
from heila_mosaik.gridmodel.microgrids import AttachedMicrogrid, MicrogridConnection, attach_microgrid


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """Powers of one appliance table at profile value 1.

    Attributes:
        p_mw: Active power, pandapower's sign; zero for microgrid elements. [MW] (n,)
        q_mvar: Reactive power. [MVar] (n,)
        profile: Profile each row follows; empty: none. (n,)
    """

    p_mw: FloatArray
    q_mvar: FloatArray
    profile: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyNet:
    """A pandapower net made ready for a study.

    Attributes:
        net: The net, microgrids attached.
        loads: Ratings of the loads.
        sgens: Ratings of the static generators.
        microgrids: What was added for each microgrid.
    """

    net: Any
    loads: Ratings
    sgens: Ratings
    microgrids: dict[str, AttachedMicrogrid]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetLimits:
    """Planning limits that replace the net's own; ``None`` keeps them. [pu], [%]."""

    v_min_pu: float | None = None
    v_max_pu: float | None = None
    line_loading_percent: float | None = None
    trafo_loading_percent: float | None = None


def prepare_net(
    source: Path | Any,
    microgrids: Sequence[MicrogridConnection],
    *,
    der_growth: float = 1.0,
    load_growth: float = 1.0,
    limits: NetLimits | None = None,
    positions: Mapping[int, bool] | None = None,
) -> StudyNet:
    """Take a net, apply growth and limits, attach the microgrids.

    Args:
        source: pandapower JSON, or a net that was loaded; it is changed.
        microgrids: Microgrids to attach.
        der_growth: Factor on the power of static generators. [1]
        load_growth: Factor on the power of loads. [1]
        limits: Limits to set.
        positions: Switches to close (``True``) or open, by pandapower index.

    Raises:
        ProblemsError: If the net cannot be read or a microgrid does not fit, all problems together.
    """
    net = load_net(source) if isinstance(source, Path) else source
    net.load[["p_mw", "q_mvar"]] = net.load[["p_mw", "q_mvar"]] * load_growth
    net.sgen[["p_mw", "q_mvar"]] = net.sgen[["p_mw", "q_mvar"]] * der_growth
    if "sn_mva" in net.sgen.columns:
        net.sgen["sn_mva"] = net.sgen["sn_mva"] * der_growth
    _set_limits(net, limits or NetLimits())
    attached: dict[str, AttachedMicrogrid] = {}
    problems = _switch(net, positions or {})
    for connection in microgrids:
        try:
            attached[connection.name] = attach_microgrid(net, connection)
        except ProblemsError as error:
            problems += error.problems
    if problems:
        where = source if isinstance(source, Path) else net.name or "of the grid folder"
        raise ProblemsError(f"net {where} with its microgrids", problems)
    return StudyNet(net=net, loads=_ratings(net.load), sgens=_ratings(net.sgen), microgrids=attached)


def regulated(net: Any) -> tuple[str, ...]:
    """Transformers with a tap changer and capacitor banks, as ``trafo.0`` and ``shunt.1``."""
    trafos = net.trafo.index[net.trafo.tap_pos.notna()] if "tap_pos" in net.trafo.columns else ()
    return (*(f"trafo.{int(trafo)}" for trafo in trafos), *(f"shunt.{int(shunt)}" for shunt in net.shunt.index))


def save_net(net: Any, path: Path) -> None:
    """Write the net as pandapower JSON."""
    import pandapower as pp  # noqa: PLC0415 - slow import, needed once

    pp.to_json(net, str(path))


def _switch(net: Any, positions: Mapping[int, bool]) -> list[Problem]:
    """Set switch positions; problems for switches the net does not have."""
    known = [int(index) for index in net.switch.index]
    for switch, closed in positions.items():
        if switch in known:
            net.switch.loc[switch, "closed"] = closed
    return [
        Problem(
            what="there is no such switch in the net",
            where=f"topology, switch.{switch}",
            remedy=f"use one of net.switch: {', '.join(map(str, known[:12]))}{' ...' if len(known) > 12 else ''}",
        )
        for switch in positions
        if switch not in known
    ]


def _set_limits(net: Any, limits: NetLimits) -> None:
    if limits.v_min_pu is not None:
        net.bus["min_vm_pu"] = limits.v_min_pu
    if limits.v_max_pu is not None:
        net.bus["max_vm_pu"] = limits.v_max_pu
    if limits.line_loading_percent is not None:
        net.line["max_loading_percent"] = limits.line_loading_percent
    if limits.trafo_loading_percent is not None:
        net.trafo["max_loading_percent"] = limits.trafo_loading_percent


def _ratings(table: Any) -> Ratings:
    names = table["profile"] if "profile" in table.columns else [None] * len(table)
    return Ratings(
        p_mw=table.p_mw.to_numpy(np.float64, copy=True),
        q_mvar=table.q_mvar.to_numpy(np.float64, copy=True),
        profile=tuple(name if isinstance(name, str) else "" for name in names),
    )
