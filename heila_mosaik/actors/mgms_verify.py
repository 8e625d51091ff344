"""Measured against requested power of a reserve, around the declared baseline."""

from __future__ import annotations

import math
from datetime import datetime

from heila_mosaik.actors.mgms_book import MINUTE, Book, Holding
from heila_mosaik.actors.mgms_fcr import combined
from heila_mosaik.actors.mgms_settings import MgmsSettings
from heila_mosaik.domain.information import VerificationNotification
from heila_mosaik.domain.reserves import RESERVE_PRODUCTS


def baseline_of(
    method: str, book: Book, holding: Holding, start: datetime, count: int
) -> list[tuple[float, float]] | None:
    """Declared baseline of each minute. [MW], [MVar]"""
    if method == "meter_before":
        if holding.baseline is None:
            before = book.metered(holding.reserve.start - 15 * MINUTE, 15)
            if before is None:
                return None
            holding.baseline = (math.fsum(r[0] for r in before) / 15, math.fsum(r[1] for r in before) / 15)
        return [holding.baseline] * count
    rows = [book.planned(start + k * MINUTE) for k in range(count)]
    return None if any(row is None for row in rows) else [row for row in rows if row is not None]


def verification(
    settings: MgmsSettings, book: Book, holding: Holding, start: datetime, stop: datetime
) -> VerificationNotification | None:
    """Verification of one settlement period, without identity; ``None`` if measurements or plan are missing.

    Args:
        settings: Settings of the MGMS.
        book: Its memory.
        holding: The reserve.
        start: Start of the period.
        stop: End of the period.
    """
    reserve = holding.reserve
    if reserve.product in RESERVE_PRODUCTS:
        return combined(book, holding, start)
    count = max(1, round((stop - start).total_seconds() / 60))
    metered = book.metered(start, count)
    baseline = baseline_of(settings.baseline_method, book, holding, start, count)
    if metered is None or baseline is None:
        return None
    moments = [start + k * MINUTE for k in range(count)]
    # What other reserves asked for is not this one's deviation.
    others = [book.asked(moment, without=reserve.id) for moment in moments]
    followed = [book.followed_mw(moment) for moment in moments]
    asked = [holding.asked(moment) for moment in moments]
    return VerificationNotification(
        id="",
        reserve=reserve.id,
        location=settings.microgrid,
        start=start,
        stop=stop,
        step_s=round((stop - start).total_seconds() / count),
        baseline_method=settings.baseline_method,
        baseline_p_mw=tuple(b[0] + o[0] + f for b, o, f in zip(baseline, others, followed, strict=True)),
        measured_p_mw=tuple(row[0] for row in metered),
        requested_p_mw=tuple(row[0] for row in asked),
        baseline_q_mvar=tuple(b[1] + o[1] for b, o in zip(baseline, others, strict=True)),
        measured_q_mvar=tuple(row[1] for row in metered),
        requested_q_mvar=tuple(row[1] for row in asked),
    )
