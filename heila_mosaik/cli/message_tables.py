"""What ``heila message show`` prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from heila_mosaik.bridges.smartapi import PlainNotification
from heila_mosaik.bridges.smartapi.table import NUMBERS
from heila_mosaik.domain.information import Message

_MANY = 6


def show_message(found: Message | PlainNotification) -> None:
    """Print a message."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    if isinstance(found, PlainNotification):
        _show_plain(console, found)
        return
    console.print(f"[bold]{type(found.body).__name__}[/] {found.body.id}")
    console.print(f"message {found.id} from {found.sender} to {found.receiver}, sent {found.sent_at.isoformat()}")
    table = Table(show_edge=False)
    for heading in ("field", "value", "unit"):
        table.add_column(heading, overflow="fold")
    for name, value in _rows(found.body):
        table.add_row(name, _text(value), _unit(name))
    console.print(table)


def _rows(thing: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(thing):
        value = getattr(thing, field.name)
        if dataclasses.is_dataclass(value):
            yield from _rows(value, f"{prefix}{field.name}.")
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            for place, part in enumerate(value):
                yield from _rows(part, f"{prefix}{field.name}[{place}].")
        else:
            yield f"{prefix}{field.name}", value


def _unit(name: str) -> str:
    field = name.rpartition(".")[2]
    number = NUMBERS.get(field)
    if number is None:
        return "s" if field.endswith("_s") else ""
    return number.units if isinstance(number.units, str) else " or ".join(dict.fromkeys(number.units.values()))


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        shown = ", ".join(_text(part) for part in value[:_MANY])
        return shown + (f", … ({len(value)} in all)" if len(value) > _MANY else "")
    if isinstance(value, datetime):
        return value.isoformat()
    return "–" if value is None else str(value)


def _show_plain(console: Console, found: PlainNotification) -> None:
    when = "at no stated time" if found.generated_at is None else found.generated_at.isoformat()
    console.print(f"[bold]Smart API {found.kind}[/] of {found.generated_by or 'nobody'}, {when}; none of our objects")
    table = Table(show_edge=False)
    for heading in ("of", "quantity", "unit", "values"):
        table.add_column(heading, overflow="fold")
    for value in found.values:
        limits = f" ({value.minimum or '–'} … {value.maximum or '–'})" if value.minimum or value.maximum else ""
        table.add_row(value.owner, _local(value.quantity), _local(value.unit), value.value + limits)
    for series in found.series:
        start = "" if series.start is None else series.start.isoformat()
        grid = f"from {start} every {series.step_s} s: " if start else ""
        table.add_row(series.owner, _local(series.quantity), _local(series.unit), grid + _text(series.values))
    console.print(table)


def _local(iri: str) -> str:
    return iri.rpartition("#")[2] or iri


def as_plain_json(found: PlainNotification) -> dict[str, Any]:
    """JSON of a message that is none of our objects."""
    tree = dataclasses.asdict(found)
    tree["generated_at"] = None if found.generated_at is None else found.generated_at.isoformat()
    for series in tree["series"]:
        series["start"] = None if series["start"] is None else series["start"].isoformat()
    return tree
