"""An aggregator that learns what its buyers are ready to pay."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from heila_mosaik.actors.base import Actor, Outcome, Record
from heila_mosaik.domain.information import Measurements, Message, Offer, ReserveNotification
from heila_mosaik.study.extensions import Place


class BoldSeller:
    """The standard aggregator with its prices times a factor: up after a sale, down after a session without one.

    Args:
        standard: The aggregator inside.
        step_percent: How far the factor moves after each round of offers. [%]
    """

    def __init__(self, standard: Actor, step_percent: float) -> None:
        self.name = standard.name
        self.factor = 1.0
        self._standard = standard
        self._ratio = 1.0 + step_percent / 100.0
        self._offered = self._sold = False

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None) -> Outcome:
        """Let the standard aggregator act, then put the own price on what it offers."""
        self._sold = self._sold or any(isinstance(message.body, ReserveNotification) for message in inbox)
        outcome = self._standard.step(now, inbox, measurements)
        if not any(isinstance(message.body, Offer) for message in outcome.messages):
            return outcome
        if self._offered:
            self.factor *= self._ratio if self._sold else 1.0 / self._ratio
        self._offered, self._sold = True, False
        record = Record(
            at=now,
            actor=self.name,
            event="price_factor",
            detail=f"prices times {self.factor:.3f}",
            values={"factor": self.factor},
        )
        messages = tuple(self._priced(message) for message in outcome.messages)
        return replace(outcome, messages=messages, records=(*outcome.records, record))

    def _priced(self, message: Message) -> Message:
        if not isinstance(message.body, Offer):
            return message
        price = message.body.price_eur_per_mwh * self.factor
        return replace(message, body=replace(message.body, price_eur_per_mwh=price))


def make(place: Place) -> Actor:
    """Maker named in the scenario."""
    assert place.standard is not None
    return BoldSeller(place.standard, float(place.settings.get("step_percent", 10.0)))
