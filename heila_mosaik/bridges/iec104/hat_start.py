"""Connection that is kept alive without data transfer until it is wanted (hot standby), then started.

hat-drivers starts data transfer by itself on connecting; IEC 60870-5-104 (clauses 5.3 and 10) wants the second path of
a redundancy group connected, tested with TESTFR, and started only when the first one fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from hat.drivers.iec60870.apci.common import APDUU, ApduFunction
from hat.drivers.iec60870.apci.transport import Transport

from heila_mosaik.bridges.iec104.client import LinkSettings


async def start_data_transfer(
    transport: Transport, link: LinkSettings, wanted: asyncio.Event, on_standby: Callable[[], None]
) -> None:
    """Wait until the connection is wanted, testing it every t3, then start it.

    Args:
        transport: Connection without data transfer.
        link: Timers.
        wanted: Set when data transfer is wanted.
        on_standby: Told when the connection has to wait.

    Raises:
        ConnectionError: If the connection ends.
        TimeoutError: If the station does not answer within t1.
    """
    tested, started = asyncio.Event(), asyncio.Event()
    reader = asyncio.create_task(_read(transport, tested, started))
    asker = asyncio.create_task(_ask(transport, link, wanted, on_standby, tested, started))
    try:
        done, _ = await asyncio.wait((reader, asker), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        # The reader ends at STARTDT con, so that the first frame with user data stays for the connection to read.
        await asyncio.gather(reader, asker)
    finally:
        for task in (reader, asker):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def _read(transport: Transport, tested: asyncio.Event, started: asyncio.Event) -> None:
    while not started.is_set():
        frame = await transport.read()
        match getattr(frame, "function", None):
            case ApduFunction.TESTFR_ACT:
                await transport.write(APDUU(ApduFunction.TESTFR_CON))
            case ApduFunction.TESTFR_CON:
                tested.set()
            case ApduFunction.STARTDT_CON:
                started.set()


async def _ask(
    transport: Transport,
    link: LinkSettings,
    wanted: asyncio.Event,
    on_standby: Callable[[], None],
    tested: asyncio.Event,
    started: asyncio.Event,
) -> None:
    if not wanted.is_set():
        on_standby()
    while not await _within(wanted, link.t3_s):
        tested.clear()
        await transport.write(APDUU(ApduFunction.TESTFR_ACT))
        if not await _within(tested, link.t1_s):
            raise TimeoutError(f"no answer to a test frame within t1 = {link.t1_s:g} s")
    await transport.write(APDUU(ApduFunction.STARTDT_ACT))
    if not await _within(started, link.t1_s):
        raise TimeoutError(f"no answer to STARTDT within t1 = {link.t1_s:g} s")


async def _within(event: asyncio.Event, limit_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await event.wait()
    return event.is_set()
