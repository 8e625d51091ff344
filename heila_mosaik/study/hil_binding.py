"""Which resources and breakers of a study a point list stands for, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from heila_mosaik.actors.field_settings import power_limits
from heila_mosaik.bridges.points import Point, PointList
from heila_mosaik.domain.quantities import Quantity
from heila_mosaik.domain.resources import ResourceSpec
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.simulators.bridge import Binding, Bound
from heila_mosaik.study.microgrid_file import MicrogridPart

_SLACK_MW = 1e-9


def make_binding(
    points: PointList, microgrids: Sequence[MicrogridPart], specs: Mapping[str, ResourceSpec], where: str
) -> Binding:
    """Bind a point list to a study.

    A resource is bound when its active power is measured (``<resource>.p_mw``).  When the power of a whole microgrid
    is (``<microgrid>.p_mw``), its one unbound plain load is what the bound resources do not explain.

    Args:
        points: Point list.
        microgrids: Microgrids of the study.
        specs: Resources of the study.
        where: File of the point list, for messages.

    Raises:
        ProblemsError: With everything that does not fit.
    """
    measured = {point.element for point in points.monitored if point.quantity is Quantity.ACTIVE_POWER}
    resources = {name: Bound(element=name) for name in specs if name in measured}
    problems: list[Problem] = []
    for microgrid in microgrids:
        if microgrid.name in measured:
            _bind_rest(microgrid, resources, problems, where)
    positions = {point.element for point in points.monitored if point.quantity is Quantity.BREAKER}
    breakers = tuple(part.pcc.breaker for part in microgrids if part.pcc.breaker in positions)
    names = [*specs, *(part.name for part in microgrids), *(part.pcc.breaker for part in microgrids)]
    problems += _strangers(points, names, where)
    problems += _unread(points, resources, breakers, where)
    problems += _narrow(points, specs, where)
    if not resources and not breakers:
        remedy = f"map points to attributes of the study, for example {next(iter(specs), 'battery')}.p_mw"
        problems.append(Problem(what="no point measures anything of the study", where=where, remedy=remedy))
    if problems:
        raise ProblemsError(f"point list {where} in this study", problems)
    return Binding(resources=resources, breakers=breakers)


def _bind_rest(microgrid: MicrogridPart, resources: dict[str, Bound], problems: list[Problem], where: str) -> None:
    """The one plain load of a microgrid whose whole power is measured."""
    own = [part.name for part in microgrid.resources]
    loads = [part.name for part in microgrid.resources if part.type == "load" and part.name not in resources]
    simulated = [part.name for part in microgrid.resources if part.name not in resources and part.type != "load"]
    if len(loads) == 1 and not simulated:
        resources[loads[0]] = Bound(element=microgrid.name, less=tuple(name for name in own if name in resources))
        return
    left = ", ".join([*simulated, *loads]) or "nothing"
    what = f"{microgrid.name}.p_mw measures the whole microgrid, and {left} would have to explain the rest"
    remedy = "measure every resource but one plain load, or do not map the power of the microgrid"
    problems.append(Problem(what=what, where=where, remedy=remedy))


def _place(point: Point, where: str) -> str:
    return f"{point.where or where}, column attribute"


def _strangers(points: PointList, names: Sequence[str], where: str) -> Iterator[Problem]:
    """Elements that the study does not have: an error for control points, for others only when it looks like a slip."""
    for point in points:
        if point.quantity is None or point.element in names:
            continue
        near = get_close_matches(point.element, names, n=1, cutoff=0.8)
        if near or point in points.controlled:
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names)}"
            yield Problem(what=f"the study has no '{point.element}'", where=_place(point, where), remedy=hint)


def _unread(
    points: PointList, resources: Mapping[str, Bound], breakers: Sequence[str], where: str
) -> Iterator[Problem]:
    """Control points whose effect the study would not see."""
    for point in points.controlled:
        bound = (*resources, *breakers)
        if point.quantity is not None and point.element not in bound:
            wanted = "closed" if point.quantity is Quantity.BREAKER else "p_mw"
            what = f"{point.name} moves {point.element}, and no point measures {point.element}.{wanted}"
            remedy = f"add a monitor point with the attribute {point.element}.{wanted}"
            yield Problem(what=what, where=_place(point, where), remedy=remedy)


def _narrow(points: PointList, specs: Mapping[str, ResourceSpec], where: str) -> Iterator[Problem]:
    """Set points narrower than the device in the study: what the study sells would be refused at the wire."""
    for (element, quantity), point in points.control_of.items():
        if quantity is not Quantity.ACTIVE_POWER or element not in specs:
            continue
        low, high = power_limits(specs[element])
        if point.minimum > low + _SLACK_MW or point.maximum < high - _SLACK_MW:
            what = f"{point.name} takes {point.minimum:g} to {point.maximum:g} MW, {element} has {low:g} to {high:g} MW"
            remedy = "give the resource the range of the equipment: set points outside are refused, not clipped"
            yield Problem(what=what, where=f"{point.where or where}, column minimum", remedy=remedy)
