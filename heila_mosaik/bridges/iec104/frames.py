"""Reading frames of IEC 60870-5-104 by hand: values and the answers to orders, nothing else.

Independent of both libraries, so that one checks the other: the c104 process trusts the frames instead of what c104
returns, and campaigns judge what is on the wire.
"""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from typing import Any

ACTIVATION_CONFIRMATION, ACTIVATION_TERMINATION = 7, 10
INTERROGATION, CLOCK = 100, 103
_NEGATIVE, _CAUSE = 0x40, 0x3F
# Type: (octets of value with quality, has CP56Time2a); IEC 60870-5-101, clauses 7.3.1.
_VALUES = {1: (1, 0), 30: (1, 1), 3: (1, 0), 31: (1, 1), 5: (2, 0), 32: (2, 1), 9: (3, 0), 34: (3, 1)}
_VALUES |= {11: (3, 0), 35: (3, 1), 13: (5, 0), 36: (5, 1)}
COMMANDS = (45, 46, 48, 49, 50)


def decode_value(kind: int, octets: bytes) -> tuple[float, int]:
    """Value and quality descriptor of an information element."""
    if kind in (1, 30):
        return float(octets[0] & 1), octets[0] & 0xF0
    if kind in (3, 31):
        return float(octets[0] & 3), octets[0] & 0xF0
    if kind in (5, 32):
        step = octets[0] & 0x7F
        return float(step - 128 if step > 63 else step), octets[1]
    if kind in (9, 34):
        return struct.unpack("<h", octets[:2])[0] / 32768.0, octets[2]
    if kind in (11, 35):
        return float(struct.unpack("<h", octets[:2])[0]), octets[2]
    return float(struct.unpack("<f", octets[:4])[0]), octets[4]


def decode_time(octets: bytes) -> str | None:
    """CP56Time2a in UTC; ``None`` when the equipment says it is invalid."""
    if octets[2] & 0x80:
        return None
    milliseconds = int.from_bytes(octets[:2], "little")
    try:
        stamp = datetime(
            2000 + (octets[6] & 0x7F),
            octets[5] & 0x0F,
            octets[4] & 0x1F,
            octets[3] & 0x1F,
            octets[2] & 0x3F,
            milliseconds // 1000,
            milliseconds % 1000 * 1000,
            UTC,
        )
    except ValueError:
        return None
    return stamp.isoformat()


def decode_frame(frame: bytes) -> list[dict[str, Any]]:
    """Values and confirmations of one frame; frames without user data give none."""
    if len(frame) < 15 or frame[0] != 0x68 or frame[2] & 1:
        return []
    kind, count, sequence = frame[6], frame[7] & 0x7F, bool(frame[7] & 0x80)
    cause, negative = frame[8] & _CAUSE, bool(frame[8] & _NEGATIVE)
    station, body = int.from_bytes(frame[10:12], "little"), frame[12:]
    if kind in COMMANDS or kind in (INTERROGATION, CLOCK):
        address = int.from_bytes(body[:3], "little")
        select = bool(body[-1] & 0x80) if kind in COMMANDS else False
        head = {"event": "confirmed", "type": kind, "cause": cause, "negative": negative, "select": select}
        return [{**head, "station": station, "address": address}]
    if kind not in _VALUES:
        return []
    size, tagged = _VALUES[kind]
    step = size + 7 * tagged
    values: list[dict[str, Any]] = []
    address, place = int.from_bytes(body[:3], "little"), 0
    for number in range(count):
        if not sequence or number == 0:
            address = int.from_bytes(body[place : place + 3], "little")
            place += 3
        else:
            address += 1
        octets = body[place : place + step]
        place += step
        if len(octets) < step:
            break
        value, quality = decode_value(kind, octets)
        stamp = decode_time(octets[size:]) if tagged else None
        head = {
            "event": "value",
            "station": station,
            "address": address,
            "value": value if math.isfinite(value) else None,
        }
        values.append({**head, "quality": quality, "cause": cause, "time": stamp})
    return values


def decode_order(frame: bytes) -> dict[str, Any] | None:
    """An order in a frame: where, value as on the wire, whether it only selects; ``None`` when there is none."""
    if len(frame) < 16 or frame[0] != 0x68 or frame[2] & 1 or frame[6] not in COMMANDS:
        return None
    body = frame[12:]
    octets, qualifier = body[3:], body[-1]
    match frame[6]:
        case 45:
            value = float(octets[0] & 1)
        case 46:
            value = float(octets[0] & 3)
        case 48:
            value = struct.unpack("<h", octets[:2])[0] / 32768.0
        case 49:
            value = float(struct.unpack("<h", octets[:2])[0])
        case _:
            value = float(struct.unpack("<f", octets[:4])[0]) if len(octets) >= 5 else math.nan
    return {
        "station": int.from_bytes(frame[10:12], "little"),
        "address": int.from_bytes(body[:3], "little"),
        "value": value,
        "select": bool(qualifier & 0x80),
    }
