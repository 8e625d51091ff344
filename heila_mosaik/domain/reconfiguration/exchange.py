"""Branch exchange for least losses: close an open device, open another in the loop it makes, while losses fall.

After S. Civanlar, J. J. Grainger, H. Yin, S. S. H. Lee, "Distribution feeder reconfiguration for loss reduction", IEEE
Trans. Power Delivery 3(3), 1988, and M. E. Baran, F. F. Wu, "Network reconfiguration in distribution systems for loss
reduction and load balancing", IEEE Trans. Power Delivery 4(2), 1989; here every exchange is judged by AC power flow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.network import GridEngine
from heila_mosaik.domain.reconfiguration.check import Cases, Outcome, Switchboard
from heila_mosaik.domain.reconfiguration.failures import NotRadialError
from heila_mosaik.domain.reconfiguration.tree import Tree
from heila_mosaik.domain.topology import Graph, make_zones

_GAIN = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconfiguration:
    """A radial switching state and how it was found.

    Attributes:
        positions: Position of every operable device.
        moved: Devices that changed against the start, in order.
        before, after: AC check of the start and of the answer.
        evaluations: Power flows solved.
    """

    positions: Mapping[str, bool]
    moved: tuple[str, ...]
    before: Outcome
    after: Outcome
    evaluations: int

    @property
    def open(self) -> tuple[str, ...]:
        """Open devices, in order."""
        return tuple(name for name, closed in self.positions.items() if not closed)


def reconfigure(
    engine: GridEngine,
    graph: Graph,
    operable: Collection[str],
    cases: Cases,
    limits: Limits | None = None,
    *,
    positions: Mapping[str, bool] | None = None,
    max_exchanges: int = 100,
) -> Reconfiguration:
    """Switching state of least losses that keeps the grid radial and its limits.

    Limits come first: while some limit is broken, the exchange that lowers the worst excess most is taken; then losses.

    Args:
        engine: Compiled grid; works on a copy.
        graph: Its connectivity.
        operable: Devices that may move.
        cases: Loading cases; the mean of their losses is minimised.
        limits: Limits; by default those of the grid.
        positions: Start, by default as the grid was read.
        max_exchanges: Exchanges at most.

    Raises:
        NotRadialError: If the start is not radial.
    """
    start = {name: closed for name, closed in (graph.devices | dict(positions or {})).items() if name in operable}
    zones = make_zones(graph, operable, positions or {})
    roots = sorted({int(zones.of[bus]) for bus in engine.network.ext_grids.bus.tolist()})
    tree = Tree(zones, roots, start)
    if tree.loops or tree.dark:
        names = {int(zone): graph.nodes[node] for node, zone in reversed(list(enumerate(zones.of.tolist())))}
        raise NotRadialError(tree.loops, tuple(names[zone] for zone in tree.dark))
    board = Switchboard(engine.copy(), limits or Limits.of(engine.network), cases)
    board.set(dict(positions or {}))
    best = before = board.check(start)
    current = dict(start)
    for _ in range(max_exchanges):
        found = _best_exchange(board, tree, current, best)
        if found is None:
            break
        current, best = found
        tree = Tree(zones, roots, current)
    moved = tuple(name for name, closed in current.items() if closed != start[name])
    return Reconfiguration(positions=current, moved=moved, before=before, after=best, evaluations=board.evaluations)


def better(new: Outcome, old: Outcome) -> bool:
    """Whether a state is better: a smaller excess first, then smaller losses."""
    if not old.feasible:
        return new.excess < old.excess - _GAIN
    return new.feasible and new.losses_mw < old.losses_mw - _GAIN * max(1.0, old.losses_mw)


def _best_exchange(
    board: Switchboard, tree: Tree, current: Mapping[str, bool], best: Outcome
) -> tuple[dict[str, bool], Outcome] | None:
    found: tuple[dict[str, bool], Outcome] | None = None
    for tie in [name for name, closed in current.items() if not closed]:
        for device in _by_turns(tree.loop(tie)):
            trial = {**current, tie: True, device: False}
            outcome = board.check(trial)
            if better(outcome, found[1] if found else best):
                found = trial, outcome
    return found


def _by_turns(loop: tuple[tuple[str, ...], tuple[str, ...]]) -> list[str]:
    """Devices of a loop, nearest to the tie first, from either side by turns."""
    left, right = loop
    order: list[str] = []
    for k in range(max(len(left), len(right))):
        order += [side[k] for side in (left, right) if k < len(side)]
    return order


def radial_cases(engine: GridEngine) -> Cases:
    """The one case of the powers as they stand in the grid."""
    p, q = engine.bus_injection(engine.default_input())
    return Cases(p_mw=np.asarray(p)[None, :].copy(), q_mvar=np.asarray(q)[None, :].copy())
