"""Sequences with a time tag in every element, as lib60870 and c104 send them, read as they are meant.

The standard defines time-tagged types for single objects only (SQ = 0).  Stations built on lib60870 pack neighbouring
addresses with SQ = 1 and repeat the time tag in every element, and tshark reads them so; hat-drivers looks for one time
tag at the end and would take octets of the time for values.  The length tells the two readings apart.
"""

from __future__ import annotations

from hat.drivers.iec60870 import apci

_ELEMENT = {30: 1, 31: 1, 32: 2, 33: 5, 34: 3, 35: 3, 36: 5, 37: 5}
"""Octets of value and quality by type with CP56Time2a (IEC 60870-5-101, clause 7.3.1)."""
_TAG, _HEAD, _ADDRESS = 7, 6, 3


def spread(data: bytes) -> bytes:
    """The same ASDU with one address an element where it is such a sequence, else as it is."""
    if len(data) < _HEAD + _ADDRESS or data[0] not in _ELEMENT or not data[1] & 0x80:
        return data
    count, step = data[1] & 0x7F, _ELEMENT[data[0]] + _TAG
    first, elements = int.from_bytes(data[_HEAD : _HEAD + _ADDRESS], "little"), data[_HEAD + _ADDRESS :]
    if len(elements) != count * step:
        return data
    objects = (
        (first + number).to_bytes(_ADDRESS, "little") + elements[number * step : (number + 1) * step]
        for number in range(count)
    )
    return bytes((data[0], count)) + data[2:_HEAD] + b"".join(objects)


class SpreadingConnection(apci.Connection):
    """Connection that hands on sequences spread."""

    async def receive(self) -> bytes:
        """Receive one ASDU."""
        return spread(bytes(await super().receive()))
