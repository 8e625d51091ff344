"""What a study's telemetry lets the control room see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from heila_mosaik.domain.estimation import Estimate, ObservabilityReport, observability
from heila_mosaik.domain.network import GridInput
from heila_mosaik.domain.quantities import Quantity
from heila_mosaik.study.build import Study, build_study, make_actors, measuring
from heila_mosaik.study.schema import Scenario

_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look at the grid through its telemetry.

    Attributes:
        at: Moment of the look.
        measurements: Values that arrived.
        bus_ids: pandapower index of each bus. (n_bus,)
        injections: Names of the injections. (n,)
        estimate: State estimate.
        report: Observability.
    """

    at: datetime
    measurements: int
    bus_ids: tuple[int, ...]
    injections: tuple[str, ...]
    estimate: Estimate
    report: ObservabilityReport


def observe(scenario: Scenario, at: datetime | None = None, advices: int = 5) -> Observation:
    """Estimate the state once from the scenario's telemetry and report what it sees.

    Every microgrid draws a tenth of its rated power: what the report says depends on meters, hardly on powers.

    Args:
        scenario: Scenario.
        at: Moment; the start of the study by default.
        advices: Number of meters to propose.

    Raises:
        ProblemsError: If the scenario's grid or series are wrong, or ``at`` lies outside them.
        EstimationError: If the state cannot be estimated.
    """
    study = build_study(scenario)
    moment = at or scenario.start_utc
    table, followers = study.environment.table, study.environment.followers
    given = study.engine.default_input()
    values = table.at(moment)
    for kind in ("load", "sgen"):
        getattr(given, f"{kind}_p_mw")[:] = followers[f"{kind}_P[MW]"].power(values)
        getattr(given, f"{kind}_q_mvar")[:] = followers[f"{kind}_Q[MVar]"].power(values)
    drawn = _microgrids_draw(study, given)
    state = study.engine.solve(given)
    _, dms = make_actors(study, flexibility=True)
    assert dms is not None
    handed = {(name, Quantity.ACTIVE_POWER): p_mw for name, p_mw in drawn.items()}
    handed |= {(name, Quantity.REACTIVE_POWER): 0.0 for name in drawn}
    measured = measuring(study).measure(moment, state, handed)
    prior = dms.knowledge.prior(moment, {})
    estimate = dms.estimator.estimate(prior, measured)
    return Observation(
        at=moment,
        measurements=len(estimate.used),
        bus_ids=tuple(int(bus) for bus in study.network.bus_ids),
        injections=dms.knowledge.names,
        estimate=estimate,
        report=observability(dms.estimator, prior, measured, estimate, advices=advices),
    )


def _microgrids_draw(study: Study, given: GridInput) -> dict[str, float]:
    """Let every microgrid draw active power at one of its loads; its power at the point of common coupling. [MW]"""
    rows = {int(element): row for row, element in enumerate(study.network.loads.ids)}
    drawn = {}
    for part in study.folder.microgrids:
        own = [place for place in study.net.microgrids[part.name].elements.values() if place[0] == "load"]
        drawn[part.name] = _SHARE * (part.pcc.s_max_mva or 1.0) if own else 0.0
        for _, element in own[:1]:
            given.load_p_mw[rows[element]] = drawn[part.name]
    return drawn
