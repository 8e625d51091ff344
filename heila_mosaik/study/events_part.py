"""Scenario parts ``events`` and ``restoration``: faults of the grid and what the DSO does about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from heila_mosaik.domain.network import Network
from heila_mosaik.domain.switchgear import Fault
from heila_mosaik.domain.topology import fault_breakers, make_graph
from heila_mosaik.errors import Problem

_NotNegative = Annotated[float, Field(ge=0.0)]
_Positive = Annotated[float, Field(gt=0.0)]
_Load = Annotated[str, Field(pattern=r"^load\.\d+$")]
_Switch = Annotated[str, Field(pattern=r"^switch\.\d+$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class FaultPart(_Part):
    """A permanent short circuit on a line, and its repair."""

    type: Literal["fault"] = Field(default="fault", description="Kind of the event.")
    line: int = Field(ge=0, description="pandapower index of the line.")
    at: AwareDatetime = Field(description="When it happens, ISO 8601 with zone.")
    repaired_at: AwareDatetime = Field(description="When it is repaired, ISO 8601 with zone.")

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.repaired_at <= self.at:
            raise ValueError(
                f"repaired_at {self.repaired_at.isoformat()} is not after at {self.at.isoformat()}; "
                "give a later time, or one after the study's end if it is not repaired in it"
            )
        return self

    def fault(self) -> Fault:
        """The fault as the plant takes it."""
        return Fault(
            element=f"line.{self.line}", at=self.at.astimezone(UTC), repaired_at=self.repaired_at.astimezone(UTC)
        )


class Restoration(_Part):
    """Network restoration by the DSO and the microgrids."""

    enabled: bool = Field(default=True, description="false: the DMS only watches; supply comes back with the repair.")
    microgrids: bool = Field(default=True, description="Whether microgrids with grid-forming storage hold islands.")
    locate_s: _NotNegative = Field(default=60.0, description="From the trip to the decision. [s]")
    confirm_s: _Positive = Field(default=300.0, description="A switch not seen in its place by then has failed. [s]")
    repair_h: _Positive = Field(default=4.0, description="Outage the DMS plans for after a fault. [h]")
    v_min_pu: float = Field(default=0.93, gt=0.5, lt=1.0, description="Lowest voltage while supply is restored. [pu]")
    v_max_pu: float = Field(default=1.1, gt=1.0, lt=1.3, description="Highest voltage while supply is restored. [pu]")
    loading_percent: _Positive = Field(
        default=110.0, description="Highest loading while supply is restored; flexibility then relieves it. [%]"
    )
    customers_per_mw: _Positive = Field(
        default=400.0, description="Customers of a load without an entry, per MW of its rating."
    )
    customers: dict[_Load, int] = Field(default_factory=dict, description="Customers of single loads.")
    priority: dict[_Load, int] = Field(default_factory=dict, description="Priority of single loads; 1 comes first.")
    default_priority: int = Field(default=2, ge=1, le=9, description="Priority of the other loads.")
    fixed: tuple[_Switch, ...] = Field(default=(), description="Switches without remote control.")


def order_problem(events: Sequence[FaultPart], start: datetime, stop: datetime) -> str:
    """What is wrong with the times of events, empty if nothing is."""
    for number, event in enumerate(events):
        if not start <= event.at < stop:
            return (
                f"events[{number}].at {event.at.isoformat()} lies outside the study, "
                f"{start.isoformat()} to {stop.isoformat()}; move it into the study"
            )
        for other, earlier in enumerate(events[:number]):
            if earlier.line == event.line and event.at < earlier.repaired_at and earlier.at < event.repaired_at:
                return (
                    f"events[{number}] and events[{other}] are faults on line {event.line} at the same time; merge them"
                )
    return ""


def event_problems(events: Sequence[FaultPart], restoration: Restoration, network: Network) -> list[Problem]:
    """Everything in events and restoration that does not fit the grid; ``where`` is the dotted key."""
    problems: list[Problem] = []
    graph = make_graph(network)
    lines = network.lines.ids.tolist()
    closed = graph.links({})
    sources = network.ext_grids.bus.tolist()
    for number, event in enumerate(events):
        where = f"events.{number}.line"
        if event.line not in lines:
            remedy = f"use an index of net.line ({min(lines)} to {max(lines)})" if lines else "the grid has no lines"
            problems.append(
                Problem(what=f"fault on line {event.line}, which does not exist", where=where, remedy=remedy)
            )
            continue
        node = graph.place(f"line.{event.line}")
        tripped = dict.fromkeys(fault_breakers(graph, closed, node), False)
        if not bool(network.lines.in_service[lines.index(event.line)]):
            what = f"fault on line {event.line}, which is out of service"
            problems.append(Problem(what=what, where=where, remedy="choose a line in service"))
        elif graph.connected(graph.links(tripped), sources)[node]:
            what = f"no circuit breaker lies between line {event.line} and the grid above"
            remedy = "give the net switches of type CB at the feeders, or choose another line"
            problems.append(Problem(what=what, where=where, remedy=remedy))
    known = {f"load.{load}" for load in network.loads.ids.tolist()}
    known |= {f"switch.{switch}" for switch in network.switches.ids.tolist()}
    for field in ("customers", "priority", "fixed"):
        for element in getattr(restoration, field):
            if element not in known:
                table = element.split(".", maxsplit=1)[0]
                remedy = f"use an index of net.{table}, or leave the entry out"
                problems.append(
                    Problem(what=f"{element} does not exist in the grid", where=f"restoration.{field}", remedy=remedy)
                )
    return problems


def customers_of(restoration: Restoration, network: Network, flexible: Collection[int]) -> dict[str, float]:
    """Customers of every load: what the scenario states, else by rating, one at least.

    Args:
        restoration: Scenario part.
        network: The grid.
        flexible: Loads that are no customer of their own: charging sites and heat pumps of a microgrid.
    """
    found: dict[str, float] = {}
    for load, scale in zip(network.loads.ids.tolist(), network.loads.scale.tolist(), strict=True):
        by_rating = max(1.0, float(round(scale * restoration.customers_per_mw))) if load not in flexible else 0.0
        found[f"load.{load}"] = float(restoration.customers.get(f"load.{load}", by_rating))
    return found
