"""A small post office for the market actors' tests: delivers at once, keeps everything, wakes actors on time."""

from heila_mosaik.domain.information import Message


class PostOffice:
    """Hosts actors; messages to addresses without an actor are kept in ``mail``."""

    def __init__(self, *actors):
        self.actors = {actor.name: actor for actor in actors}
        self.mail = {}
        self.records = []
        self._sent = 0

    def post(self, now, sender, receiver, body):
        self._sent += 1
        self._deliver(
            now, [Message(id=f"{sender}-t{self._sent}", sender=sender, receiver=receiver, sent_at=now, body=body)]
        )

    def run(self, start, stop):
        """Step every actor at its wake-up times within ``[start, stop]``."""
        wake = dict.fromkeys(self.actors, start)
        while (now := min(wake.values())) <= stop:
            for name in [name for name, moment in wake.items() if moment == now]:
                outcome = self.actors[name].step(now, (), None)
                self.records += outcome.records
                wake[name] = outcome.wake_at
                self._deliver(now, outcome.messages)

    def step(self, now, name, measurements=None):
        outcome = self.actors[name].step(now, (), measurements)
        self.records += outcome.records
        self._deliver(now, outcome.messages)

    def bodies(self, receiver, kind):
        return [each.body for each in self.mail.get(receiver, ()) if isinstance(each.body, kind)]

    def events(self, event):
        return [record for record in self.records if record.event == event]

    def _deliver(self, now, messages):
        for message in messages:
            self.mail.setdefault(message.receiver, []).append(message)
            actor = self.actors.get(message.receiver)
            if actor is not None:
                outcome = actor.step(now, (message,), None)
                self.records += outcome.records
                self._deliver(now, outcome.messages)
