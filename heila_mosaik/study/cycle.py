"""The unsupervised test cycle: registration, key delivery, the whole sequence over the wire, verification; measured.

One cycle makes a laboratory from nothing (CA, keys, broker), starts the live actors as processes, runs the scenario
with the rest in mosaik, and reads from the actors' stores what became of every message and how long it took from
database to database.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from heila_mosaik.bridges import keys as keyring
from heila_mosaik.bridges.broker import NAME as BROKER
from heila_mosaik.bridges.broker import BrokerProcess, free_port
from heila_mosaik.bridges.coordinator import NAME as STUDY
from heila_mosaik.errors import HeilaError
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.kpis import write_kpis
from heila_mosaik.study.build import build_study, make_actors
from heila_mosaik.study.loader import load_scenario
from heila_mosaik.study.mixed import actor_processes, run_mixed
from heila_mosaik.study.run import Report
from heila_mosaik.study.site import load_site

SEQUENCE = (
    "WeatherForecast",
    "PriceForecast",
    "FlexibilityForecast",
    "Offer",
    "FlexibilityRequest",
    "OfferList",
    "Bid",
    "ReserveNotification",
    "OperationPlan",
    "ActivationNotification",
    "ControlSignal",
    "VerificationNotification",
    "SettlementStatement",
)
"""Steps of the conditional re-profiling sequence, market and technical process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleSettings:
    """Settings of a test cycle.

    Attributes:
        scenario: Scenario file.
        live: Actors that run as processes; empty: the aggregator and all microgrids.
        rate: Simulated seconds in a second; ``None``: lock-step.
        https: Whether microgrids and aggregator talk over HTTPS instead of MQTT.
        broker: ``mosquitto``, ``embedded`` or ``auto``.
        encrypt: Whether message bodies are encrypted.
        limit_s: Longest registration phase. [s]
    """

    scenario: Path
    live: tuple[str, ...] = ()
    rate: float | None = None
    https: bool = False
    broker: str = "auto"
    encrypt: bool = False
    limit_s: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfers:
    """Messages of one kind that went over the wire.

    Attributes:
        kind: Information object.
        sent: Messages sent.
        delivered: Messages stored by their receiver.
        confirmed: Messages whose sender has the receipt.
        expired: Messages given up.
        ms: Transfer times from commit to commit. [ms]
    """

    kind: str
    sent: int
    delivered: int
    confirmed: int
    expired: int
    ms: tuple[float, ...] = ()

    def quantile(self, share: float) -> float:
        """Quantile of the transfer time. [ms]"""
        return float(np.quantile(self.ms, share)) if self.ms else float("nan")


@dataclass(slots=True, kw_only=True)
class CycleResult:
    """What one cycle found.

    Attributes:
        number: Count of the cycle, from 1.
        started: Wall-clock time, ISO 8601.
        registration_s: From the start of the processes to the last registration. [s]
        run_s: The run itself. [s]
        complete: Whether every step of the sequence was seen.
        missing: Steps that were not seen.
        verifications: Settlement periods verified.
        successful: Of these, settled as delivered within tolerance.
        failure: Why the cycle ended early, empty if it did not.
        transfers: Messages by kind.
    """

    number: int
    started: str
    registration_s: float = float("nan")
    run_s: float = float("nan")
    complete: bool = False
    missing: tuple[str, ...] = SEQUENCE
    verifications: int = 0
    successful: int = 0
    failure: str = ""
    transfers: list[Transfers] = field(default_factory=list)

    def to_json(self) -> str:
        """One line for the log."""
        rows = []
        for each in self.transfers:
            row = {key: value for key, value in asdict(each).items() if key != "ms"}
            rows.append({**row, **{f"p{q}_ms": round(each.quantile(q / 100), 3) for q in (50, 95, 99) if each.ms}})
        told = {key: value for key, value in asdict(self).items() if key != "transfers"}
        plain = {key: None if isinstance(v, float) and v - v != 0.0 else v for key, v in told.items()}
        return json.dumps({**plain, "transfers": rows})


def run_cycle(settings: CycleSettings, folder: Path, number: int, progress: Report | None = None) -> CycleResult:
    """Run one cycle in a folder of its own; what goes wrong stands in the result.

    Args:
        settings: Settings.
        folder: Folder to make.
        number: Count of the cycle.
        progress: Told how far the run has come.

    Raises:
        ProblemsError: If the scenario is wrong.
    """
    result = CycleResult(number=number, started=datetime.now(UTC).isoformat(timespec="seconds"))
    site_file, broker, live = _prepare(settings, folder)
    site = load_site(site_file)
    began = time.monotonic()
    try:
        with broker, actor_processes(site_file, live, folder / "logs"):
            mixed = run_mixed(site, folder / "run", rate=settings.rate, progress=progress, doors=folder / "doors")
            result.registration_s = round(mixed.registration_s, 3)
            result.run_s = round(time.monotonic() - began - mixed.registration_s, 3)
    except HeilaError as error:
        result.failure = str(error)
    stores = [*(folder / "state").glob("*.db"), *(folder / "doors").glob("*.db")]
    result.transfers = collect(stores)
    if not result.failure:
        _judge(result, RunFolder(folder / "run"))
        write_kpis(folder / "run")
    return result


def _prepare(settings: CycleSettings, folder: Path) -> tuple[Path, BrokerProcess, tuple[str, ...]]:
    scenario = load_scenario(settings.scenario, []).scenario
    names = [actor.name for actor in make_actors(build_study(scenario), flexibility=scenario.flexibility)[0]]
    live = settings.live or tuple(name for name in names if name == "ams" or name.startswith("mgms_"))
    folder.mkdir(parents=True)
    keyring.write_lab(folder / "keys", [*names, STUDY, BROKER])
    broker = BrokerProcess(keys=folder / "keys", work=folder / "broker", kind=settings.broker)
    actors: dict[str, dict[str, object]] = {name: {} for name in live}
    if settings.https and "ams" in actors:
        for name, part in actors.items():
            part["https"] = {"port": free_port()}
            part["over_https"] = [other for other in actors if other != name] if name == "ams" else ["ams"]
    site = {
        "scenario": str(settings.scenario.resolve()),
        "clock": "study",
        "broker": {"port": broker.port, "version": broker.version},
        "registration": {"limit_s": settings.limit_s},
        "encrypt": settings.encrypt,
        "actors": actors,
    }
    path = folder / "site.yaml"
    path.write_text(json.dumps(site, indent=1), encoding="utf-8")
    return path, broker, live


def _judge(result: CycleResult, run: RunFolder) -> None:
    """Which steps were seen, and how the deliveries were settled."""
    messages = run.messages
    seen = set(messages["kind"])
    result.missing = tuple(kind for kind in SEQUENCE if kind not in seen)
    result.complete = not result.missing
    statements = messages[messages["kind"] == "SettlementStatement"]
    settled = {body["id"]: body["success"] for body in map(json.loads, statements["body"])}
    result.verifications, result.successful = len(settled), sum(settled.values())


def collect(stores: Iterable[Path]) -> list[Transfers]:
    """Join what senders sent with what receivers stored, by kind.

    Args:
        stores: Store files of both sides; their clocks have to be the same.
    """
    sent: dict[tuple[str, str], tuple[str, int, str]] = {}
    got: dict[tuple[str, str], int] = {}
    for path in stores:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            actor = db.execute("SELECT value FROM meta WHERE key = 'actor'").fetchone()[0]
            for identity, kind, at_ns, state in db.execute("SELECT id, kind, created_ns, state FROM outbox"):
                sent[actor, identity] = (kind, at_ns, state)
            for sender, identity, at_ns in db.execute("SELECT sender, id, received_ns FROM inbox"):
                got[sender, identity] = at_ns
    return [_transfers(kind, sent, got) for kind in sorted({row[0] for row in sent.values()})]


def _transfers(
    kind: str, sent: Mapping[tuple[str, str], tuple[str, int, str]], got: Mapping[tuple[str, str], int]
) -> Transfers:
    rows = {key: row for key, row in sent.items() if row[0] == kind}
    states = [row[2] for row in rows.values()]
    times = tuple((got[key] - row[1]) / 1e6 for key, row in rows.items() if key in got)
    return Transfers(
        kind=kind,
        sent=len(rows),
        delivered=len(times),
        confirmed=states.count("delivered"),
        expired=states.count("expired"),
        ms=times,
    )


def total(results: Sequence[CycleResult]) -> list[Transfers]:
    """All cycles together, by kind, in the order of the sequence."""
    kinds = {each.kind for result in results for each in result.transfers}
    ordered = [*(kind for kind in SEQUENCE if kind in kinds), *sorted(kinds - set(SEQUENCE))]
    found = []
    for kind in ordered:
        rows = [each for result in results for each in result.transfers if each.kind == kind]
        found.append(
            Transfers(
                kind=kind,
                sent=sum(row.sent for row in rows),
                delivered=sum(row.delivered for row in rows),
                confirmed=sum(row.confirmed for row in rows),
                expired=sum(row.expired for row in rows),
                ms=tuple(ms for row in rows for ms in row.ms),
            )
        )
    return found
