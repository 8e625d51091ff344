"""The harm check: an activation must not break another limit, hurt another actor or provoke a new need.

The open problem named by the authors of the platform: activating one service must not violate other actors nor create
a need for more flexibility.  Every activation is therefore judged by AC power flow before it is released, in the
present state and in the states it leads to (the response of others, the rebound after it ends).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.congestion.limits import Limits, Violation, violations
from heila_mosaik.domain.information import CongestionKind
from heila_mosaik.domain.network import GridEngine, Observable
from heila_mosaik.domain.quantities import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmCase:
    """A state in which the activation is judged.

    Attributes:
        name: In words, ``now`` or ``after the reserve ends``.
        p_mw, q_mvar: Consumption per bus without the activations under judgement. [MW], [MVar] (n_bus,)
        share: Share of the adjustment that acts in this case: 1 = delivery, -0.5 = half of it comes back. [1]
        response_p_mw, response_q_mvar: Expected response of others to the activation. (n_bus,) or ``None``
    """

    name: str
    p_mw: FloatArray
    q_mvar: FloatArray
    share: float = 1.0
    response_p_mw: FloatArray | None = None
    response_q_mvar: FloatArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """Harm one activation would do.

    Attributes:
        activation: Position of the activation held responsible.
        violation: Limit that would be broken or broken further.
        was: Value without the activations. [pu] or [%]
        reason: In words with the figures.
    """

    activation: int
    violation: Violation
    was: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmCheck:
    """Outcome of a check.

    Attributes:
        released: Whether each activation may be released. (k,)
        harms: Harm found, in the order found.
    """

    released: tuple[bool, ...]
    harms: tuple[Harm, ...]


def check_harm(
    engine: GridEngine,
    cases: Sequence[HarmCase],
    bus: IntArray,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    limits: Limits,
    *,
    protected: Sequence[int] = (),
    tolerance_pu: float = 2e-4,
    tolerance_percent: float = 0.2,
) -> HarmCheck:
    """Withhold activations one by one until the rest does no harm.

    Harm is a limit that would be broken, or broken further.  A limit of the grid that is broken anyway may be passed a
    little more where the activations lower the sum of all that is broken: the grid's operator trades its own limits.
    What belongs to other actors (``protected``) is never traded.

    Args:
        engine: Compiled grid; its last solution changes.
        cases: States to judge in; those of the grid's limits and of other actors' limits at their point of coupling
            come together in ``limits``.
        bus: Bus position of each activation. (k,)
        p_mw: Active adjustment of each activation. [MW] (k,)
        q_mvar: Reactive adjustment of each activation. [MVar] (k,)
        limits: Limits of grid and actors.
        protected: Positions of buses whose voltage belongs to other actors.
        tolerance_pu: A broken voltage limit may get worse by this much. [pu]
        tolerance_percent: A broken loading limit may get worse by this much. [%]
    """
    released = np.ones(len(bus), dtype=np.bool_)
    harms: list[Harm] = []
    for case in cases:
        without = engine.solve_bus(case.p_mw, case.q_mvar)
        judge = _Judge(
            limits=limits,
            known={(each.element, each.kind): each for each in violations(without, engine.network, limits)},
            protected=frozenset(f"bus.{engine.network.bus_ids[position]}" for position in protected),
            tolerance_pu=tolerance_pu,
            tolerance_percent=tolerance_percent,
        )
        while released.any():
            found = _first_harm(engine, case, bus, p_mw * released, q_mvar * released, judge)
            if found is None:
                break
            violation, culprit = found
            broken = judge.known.get((violation.element, violation.kind))
            was = _value(without, violation) if broken is None else broken.value
            released[culprit] = False
            harms.append(Harm(activation=culprit, violation=violation, was=was, reason=_reason(case, violation, was)))
    return HarmCheck(released=tuple(released.tolist()), harms=tuple(harms))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    """What harm is measured against in one case: limits, what is broken without activations, tolerances."""

    limits: Limits
    known: dict[tuple[str, CongestionKind], Violation]
    protected: frozenset[str]
    tolerance_pu: float
    tolerance_percent: float

    def worst(self, found: Sequence[Violation]) -> Violation | None:
        """Worst harm among the limits broken with the activations."""
        before = self._severity(self.known.values())
        traded = self._severity(found) < before
        worst: tuple[float, Violation] | None = None
        for violation in found:
            broken = self.known.get((violation.element, violation.kind))
            if broken is not None and traded and violation.element not in self.protected:
                continue
            tolerance = self.tolerance_percent if violation.kind == CongestionKind.CURRENT else self.tolerance_pu
            worse = (violation.excess - (0.0 if broken is None else broken.excess)) / tolerance
            if worse > 1.0 and (worst is None or worse > worst[0]):
                worst = (worse, violation)
        return None if worst is None else worst[1]

    def _severity(self, found: Iterable[Violation]) -> float:
        """Sum of what is broken of the grid's own limits. [1]"""
        return sum(violation.severity for violation in found if violation.element not in self.protected)


def _first_harm(
    engine: GridEngine, case: HarmCase, bus: IntArray, p_mw: FloatArray, q_mvar: FloatArray, judge: _Judge
) -> tuple[Violation, int] | None:
    """Worst harm in one case and the activation that contributes most to it."""
    n = len(case.p_mw)
    p = case.p_mw + case.share * np.bincount(bus, p_mw, n)
    q = case.q_mvar + case.share * np.bincount(bus, q_mvar, n)
    p = p if case.response_p_mw is None else p + case.response_p_mw
    q = q if case.response_q_mvar is None else q + case.response_q_mvar
    state = engine.solve_bus(p, q)
    found = violations(
        state, engine.network, judge.limits, voltage_pu=judge.tolerance_pu, percent=judge.tolerance_percent
    )
    violation = judge.worst(found)
    if violation is None:
        return None
    observable = {"bus": Observable.VM_PU, "line": Observable.LINE_LOADING_PERCENT}.get(
        violation.element.split(".")[0], Observable.TRAFO_LOADING_PERCENT
    )
    _, d_p, d_q = engine.sensitivity((observable,), np.array([violation.position]))
    sign = -1.0 if violation.kind == CongestionKind.UNDERVOLTAGE else 1.0
    adverse = sign * case.share * (d_p[0, bus] * p_mw + d_q[0, bus] * q_mvar)
    used = (p_mw != 0) | (q_mvar != 0)
    adverse = np.where(used, adverse, -np.inf)
    return (violation, int(np.argmax(adverse))) if used.any() else None


def _value(state: object, violation: Violation) -> float:
    table = violation.element.split(".")[0]
    column = {"bus": "vm_pu", "line": "line_loading_percent"}.get(table, "trafo_loading_percent")
    return float(getattr(state, column)[violation.position])


def _reason(case: HarmCase, violation: Violation, was: float) -> str:
    unit = "%" if violation.kind == CongestionKind.CURRENT else "pu"
    digits = ".2f" if unit == "%" else ".4f"
    return f"{case.name}: would bring {violation}; without it {was:{digits}} {unit}"
