"""mosaik simulator ``Composite``: several simulators stepped one after another as one.

mosaik's work a round grows with the square of the number of simulators, and everything inside a step costs nothing of
it.  Simulators that always step together and only feed forward (profiles, switchgear, resources, their meters) can be
started as one; each of them stays a simulator of its own for anyone who wants it alone, and the results are the same to
the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mosaik_api_v3


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One simulator of a composite.

    Attributes:
        make: Class of the simulator.
        given: Parameters of its ``init``.
    """

    make: Callable[[], mosaik_api_v3.Simulator]
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Connection inside a composite, from the entity of one member to that of another.

    Attributes:
        source, target: Models of the entities; each has exactly one.
        attributes: (output, input) names.
        initial: Makes it time-shifted: what the source gives in a step reaches the target in the next one, and these
            values, by output name, in the first.
    """

    source: str
    target: str
    attributes: Sequence[tuple[str, str]]
    initial: Mapping[str, Any] | None = None


class Composite(mosaik_api_v3.Simulator):
    """Steps its members in the order given; their entities are its entities."""

    def __init__(self) -> None:
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {}})

    def init(
        self, sid: str, time_resolution: float = 1.0, *, members: Sequence[Member], feeds: Sequence[Feed] = ()
    ) -> Any:
        """Start the members.

        Args:
            sid: Identity of the simulator.
            time_resolution: Length of one mosaik time unit. [s]
            members: Simulators, each time-based and with models of its own name, in the order in which they step.
            feeds: What goes from one to a later one.

        Raises:
            ValueError: If two members have a model of the same name, or a feed goes backwards or to no member.
        """
        self._members: list[mosaik_api_v3.Simulator] = []
        self._owner: dict[str, int] = {}
        for place, member in enumerate(members):
            part = member.make()
            for model, described in part.init(sid, time_resolution, **member.given)["models"].items():
                if model in self._owner:
                    raise ValueError(f"two members of composite {sid} have a model {model}")
                self._owner[model] = place
                self.meta["models"][model] = described
            self._members.append(part)
        for feed in feeds:
            if feed.source not in self._owner or feed.target not in self._owner:
                raise ValueError(f"feed {feed.source} to {feed.target}: both must be models of members")
            if feed.initial is None and self._owner[feed.source] >= self._owner[feed.target]:
                raise ValueError(f"feed {feed.source} to {feed.target} goes backwards; give it initial values")
        self._feeds = tuple(feeds)
        self._shifted = {place: dict(feed.initial) for place, feed in enumerate(feeds) if feed.initial is not None}
        self._entity: dict[str, str] = {}
        self._member_of: dict[str, int] = {}
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create the entities of a member."""
        place = self._owner[model]
        created = self._members[place].create(num, model, **model_params)
        for entity in created:
            self._entity.setdefault(model, entity["eid"])
            self._member_of[entity["eid"]] = place
            for child in entity.get("children", ()):
                self._member_of[child["eid"]] = place
        return created

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:
        """Step all members; what one gives a later one reaches it in this step."""
        own: list[dict[str, Any]] = [{} for _ in self._members]
        for eid, given in inputs.items():
            own[self._member_of[eid]][eid] = dict(given)
        following: set[int | None] = set()
        for place, member in enumerate(self._members):
            for number, feed in enumerate(self._feeds):
                if self._owner[feed.target] == place:
                    self._pass(number, feed, own[place])
            following.add(member.step(time, own[place], max_advance))
        [after] = following if len(following) == 1 else [None]
        if after is None:
            raise ValueError(f"members of a composite must step together; next steps: {sorted(map(str, following))}")
        for number in self._shifted:
            self._shifted[number] = self._outputs(self._feeds[number])
        return after

    def _outputs(self, feed: Feed) -> dict[str, Any]:
        source = self._entity[feed.source]
        names = [out for out, _ in feed.attributes]
        found: dict[str, Any] = self._members[self._owner[feed.source]].get_data({source: names})[source]
        return found

    def _pass(self, number: int, feed: Feed, into: dict[str, Any]) -> None:
        outputs = self._shifted[number] if feed.initial is not None else self._outputs(feed)
        given = into.setdefault(self._entity[feed.target], {})
        for out, name in feed.attributes:
            given[name] = {**given.get(name, {}), self._entity[feed.source]: outputs[out]}

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """Outputs of the members' entities."""
        found: dict[str, Any] = {}
        for eid, names in outputs.items():
            found |= self._members[self._member_of[eid]].get_data({eid: names})
        return found
