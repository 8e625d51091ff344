"""Equipment behind a bridge in a process of its own, as a study or a live actor sees it from any thread."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from types import MappingProxyType, TracebackType
from typing import Any, Self

from heila_mosaik.bridges.endpoint import Reading
from heila_mosaik.bridges.equipment_process import EquipmentConfig, Stopped, Told, serve
from heila_mosaik.bridges.field import Field
from heila_mosaik.bridges.iec104.backends import require
from heila_mosaik.bridges.iec104.bridge import BridgeStatus
from heila_mosaik.bridges.iec104.client import LinkState
from heila_mosaik.bridges.safety_types import Phase, Refusal
from heila_mosaik.errors import HeilaError

_KEPT = 200_000


class EquipmentLostError(HeilaError):
    """The process of the bridge has ended by itself."""

    def __init__(self, code: int | None, log: str) -> None:
        self.code, self.log = code, log
        super().__init__(
            f"the process of the equipment bridge ended by itself (exit code {code}); what was armed is left to the "
            f"relay's own watchdog: look at the equipment, then at {log}"
        )


class NoEquipmentError(HeilaError):
    """The equipment did not answer in time, or does not send everything the study needs."""

    def __init__(self, address: str, limit_s: float, state: str, missing: tuple[str, ...]) -> None:
        self.address, self.limit_s, self.state, self.missing = address, limit_s, state, missing
        without = f"; no good value yet for {', '.join(missing)}" if missing else ""
        super().__init__(
            f"{address}: the link is {state} after {limit_s:g} s{without}. See that the gateway runs and that the "
            "addresses of the point list are its own; for a rehearsal start 'heila lab' or use --lab"
        )


class EquipmentProcess:
    """An :class:`~heila_mosaik.bridges.endpoint.Endpoint` whose bridge lives in another process.

    All methods but opening and closing return at once.  Readings reach the slots of :attr:`field` as they come, from a
    thread of their own; what else is told waits for :meth:`drain`, which the study calls between its steps.

    Args:
        config: What the process needs.
        listener: Told of everything, in the reading thread; must not block.

    Attributes:
        field: Slots and wishes of the study.
    """

    def __init__(self, config: EquipmentConfig, listener: Callable[[Told], None] | None = None) -> None:
        require(config.backend)
        self.config = config
        self.field = Field(config.points, self._send_request)
        self._listener = listener
        self._readings: dict[str, Reading] = {}
        self._status: BridgeStatus | None = None
        self._phases: Mapping[str, Phase] = {}
        self._armed_until: dict[str, float] = {}
        self._told: deque[tuple[float, Told]] = deque(maxlen=_KEPT)
        self._process: Any = None
        self._pipe: Connection | None = None
        self._sending = threading.Lock()
        self._stopped = threading.Event()
        self._ended = False

    @property
    def readings(self) -> Mapping[str, Reading]:
        """Last value of each monitor point that has arrived, by point name."""
        return MappingProxyType(self._readings)

    @property
    def status(self) -> BridgeStatus | None:
        """Last state the bridge told; ``None`` before the first."""
        return self._status

    @property
    def armed_until(self) -> Mapping[str, float]:
        """When the arming of each armed point ends, monotonic. [s]"""
        phases = self._status.phases if self._status is not None else {}
        return {name: at for name, at in self._armed_until.items() if phases.get(name) is Phase.ARMED}

    @property
    def pid(self) -> int | None:
        """Process of the bridge."""
        return None if self._process is None else self._process.pid

    def open(self) -> None:
        """Start the process; it begins to connect."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self.config), name="equipment", daemon=False)
        self._process.start()
        theirs.close()
        self._pipe = ours
        threading.Thread(target=self._read, args=(ours,), name="equipment", daemon=True).start()

    def close(self, limit_s: float = 70.0) -> None:
        """Let go of the equipment: disarm, finish fallbacks, end the process."""
        if self._process is None or self._ended:
            return
        self._ended = True
        self._send("end")
        self._stopped.wait(limit_s)
        self._process.join(5.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def start(self) -> None:
        """As :meth:`open`, for a live actor."""
        await asyncio.to_thread(self.open)

    async def stop(self) -> None:
        """As :meth:`close`, for a live actor."""
        await asyncio.to_thread(self.close)

    def wait_ready(self, limit_s: float, poll: Callable[[], None] = lambda: None) -> None:
        """Wait until orders could pass and every slot has a value.

        Raises:
            NoEquipmentError: If that takes longer than ``limit_s``.
            EquipmentLostError: If the process ends meanwhile.
        """
        end = time.monotonic() + limit_s
        while True:
            self.check()
            state = self._status.link if self._status is not None else LinkState.CLOSED
            missing = tuple(f"{element}.{quantity.value}" for element, quantity in self.field.slots.missing())
            if state is LinkState.OPEN and not missing:
                return
            if time.monotonic() > end:
                link = self.config.link
                raise NoEquipmentError(f"{link.host}:{link.port}", limit_s, state.value, missing)
            poll()
            time.sleep(0.02)

    def check(self) -> None:
        """See that the process lives.

        Raises:
            EquipmentLostError: If it has ended by itself.
        """
        if self._stopped.is_set() and not self._ended:
            self._process.join(1.0)
            raise EquipmentLostError(self._process.exitcode, str(self.config.audit.with_suffix(".log")))

    def drain(self) -> list[tuple[float, Told]]:
        """What was told since the last call, with the monotonic time at which it came. [s]"""
        found = []
        while self._told:
            found.append(self._told.popleft())
        for _, told in found:
            if isinstance(told, Refusal):
                self.field.refused(told)
            elif isinstance(told, BridgeStatus):
                for name, phase in told.phases.items():
                    if self._phases.get(name) is Phase.ARMED and phase is not Phase.ARMED:
                        self.field.forget(name)
                self._phases = told.phases
        return found

    def again(self) -> None:
        """Repeat requests whose refusal may be over."""
        self.field.again(time.monotonic(), self._phases)

    def study_alive(self) -> None:
        """The study is on time."""
        self._send("alive")

    def request(self, name: str, value: float, *, cause: str = "", age_s: float = 0.0) -> None:
        """Ask for a value at a control point."""
        self._send("request", name, value, cause, time.monotonic() - age_s)

    def arm(self, names: tuple[str, ...], duration_s: float, *, who: str) -> None:
        """Let orders to these points pass for a time."""
        self._armed_until.update(dict.fromkeys(names, time.monotonic() + duration_s))
        self._send("arm", names, duration_s, who)

    def disarm(self, names: tuple[str, ...] = (), *, who: str) -> None:
        """Stop taking orders for these points, by default all; they go to their fallback."""
        self._send("disarm", names, who)

    def emergency_stop(self, *, who: str) -> None:
        """Everything armed goes to its safe state at once; latched."""
        self._send("stop_equipment", who)

    def reset(self, *, who: str) -> None:
        """Release the emergency stop; points stay disarmed."""
        self._send("reset", who)

    def resolve(self, order: int, *, who: str) -> None:
        """Settle an UNKNOWN order after looking at the equipment."""
        self._send("resolve", order, who)

    def _send_request(self, name: str, value: float, cause: str) -> None:
        self.request(name, value, cause=cause)

    def _send(self, *word: Any) -> None:
        if self._pipe is None:
            return
        with self._sending:
            try:
                self._pipe.send(word)
            except OSError:
                self._stopped.set()

    def _read(self, pipe: Connection) -> None:
        try:
            while True:
                for told in pipe.recv():
                    self._take(told)
        except (EOFError, OSError):
            self._stopped.set()

    def _take(self, told: Told) -> None:
        match told:
            case Reading():
                self._readings[told.name] = told
                self.field.take(told)
            case BridgeStatus():
                self._status = told
            case Stopped():
                self._stopped.set()
        self._told.append((time.monotonic(), told))
        if self._listener is not None:
            self._listener(told)
