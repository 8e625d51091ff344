"""Terminal dashboard of a run with equipment in the loop."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from heila_mosaik.bridges.points import Point
from heila_mosaik.cli.hil_keys import HELP
from heila_mosaik.study.hil_monitor import Monitor
from heila_mosaik.study.hil_session import Draw

_PHASE = {"armed": "bold red", "releasing": "yellow", "disarmed": "green"}
_STATE = {"confirmed": "green", "refused": "yellow", "unknown": "bold red", "sent": "cyan", "acknowledged": "cyan"}
_QUALITY = {"good": "green", "questionable": "yellow", "invalid": "red", "missing": "red"}


@contextmanager
def dashboard(console: Console | None = None) -> Iterator[Draw]:
    """Show a monitor on the whole terminal; yields what draws it."""
    console = console or Console()
    with Live(Text("…"), console=console, screen=True, auto_refresh=False, transient=True) as live:
        yield lambda monitor: live.update(page(monitor, console.height), refresh=True)


def page(monitor: Monitor, height: int = 40) -> RenderableType:
    """The whole dashboard."""
    layout = Layout()
    rows = max(8, len(monitor.points.monitored) + 4)
    body = Layout(name="body", size=min(rows, max(10, height - 21)))
    low = Layout(name="low", ratio=1, minimum_size=6)
    orders = Layout(_orders(monitor), name="orders", size=len(monitor.orders) + 4)
    layout.split_column(
        Layout(_head(monitor), name="head", size=5), orders, body, low, Layout(Text(f" {HELP}"), name="keys", size=1)
    )
    body.split_row(Layout(_values(monitor), ratio=3), Layout(_time(monitor), ratio=2))
    low.split_row(Layout(_activations(monitor, height)), Layout(_events(monitor, height)))
    return layout


def _head(monitor: Monitor) -> Panel:
    if monitor.emergency:
        mode = Text(" EMERGENCY STOP ", "bold white on red")
    elif any(control.phase == "armed" for control in monitor.orders.values()):
        mode = Text(" ARMED ", "bold white on dark_orange3")
    elif monitor.armed:
        mode = Text(" NOT ARMED ", "bold black on yellow")
    else:
        mode = Text(" DRY RUN ", "bold black on green")
    link = Text(monitor.link, "bold green" if monitor.link == "open" else "bold red")
    simulated = "–" if monitor.simulated is None else f"{monitor.simulated:%Y-%m-%d %H:%M:%S} UTC"
    now = datetime.now().astimezone().strftime("%H:%M:%S")
    first = Text.assemble(mode, "  link ", link, f"  {monitor.address}", f"  {monitor.link_detail}")
    second = Text(f"simulated {simulated}   step {monitor.done}/{monitor.steps}   wall {now}   {_when(monitor)}")
    third = Text.assemble(
        f"{monitor.received} values, {monitor.lost} lost   audit ",
        Text(monitor.audit_failure or "kept", "bold red" if monitor.audit_failure else "green"),
        f"   orders confirmed {monitor.counts['confirmed']}, refused {monitor.counts['refused']}, ",
        Text(f"UNKNOWN {monitor.unknown}", "bold red" if monitor.unknown else "dim"),
    )
    return Panel(Group(first, second, third), title=f"heila hil · {monitor.title}")


def _when(monitor: Monitor) -> str:
    if monitor.phase == "connect":
        return "waits for the equipment"
    soon = monitor.starts_in_s
    if soon > 0 and not monitor.done:
        return f"starts in {soon:.0f} s"
    following = f"   next step in {monitor.next_in_s:.0f} s" if monitor.next_in_s >= 1.0 else ""
    return f"{monitor.speed:g} × real time{following}"


def _values(monitor: Monitor) -> Panel:
    table = Table(expand=True, show_edge=False, pad_edge=False)
    for name, align in (("measured", "left"), ("value", "right"), ("", "left"), ("quality", "left"), ("age", "right")):
        table.add_column(name, justify=align, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    for point in monitor.points.monitored:
        shown = monitor.values.get(point.name)
        if shown is None:
            table.add_row(point.name, "–", "", Text("missing", "red"), "–")
            continue
        age = max(0.0, monitor.at_s - shown.at_s)
        late = Text(f"{age:.1f} s", "yellow" if age > point.stale_after_s else "")
        quality = Text(shown.quality, _QUALITY.get(shown.quality, ""))
        table.add_row(point.name, _value(point, shown.value), _unit(point), quality, late)
    return Panel(table, title="equipment")


def _unit(point: Point) -> str:
    unit = "" if point.quantity is None else point.quantity.value.rpartition("_")[2]
    return {"mw": "MW", "mvar": "Mvar", "ka": "kA", "closed": ""}.get(unit, unit)


def _value(point: Point, value: float) -> str:
    if math.isnan(value):
        return "–"
    if point.type.is_double or point.unit == "":
        named = {0.0: "open", 1.0: "closed"} if point.type.is_double else {0.0: "off", 1.0: "on"}
        return named.get(value, f"{value:g}")
    return f"{value:+.4f}"


def _orders(monitor: Monitor) -> Panel:
    table = Table(expand=True, show_edge=False, pad_edge=False)
    for name, align in (
        ("control point", "left"), ("phase", "left"), ("wanted", "right"), ("written", "right"), ("read back", "right"),
        ("last order", "left"), ("cause", "left"),
    ):  # fmt: skip
        table.add_column(name, justify=align, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    for name, control in monitor.orders.items():
        point = monitor.points[name]
        left = "" if control.armed_until_s is None else f" {max(0.0, control.armed_until_s - monitor.at_s):.0f} s"
        back = monitor.values.get(point.feedback)
        feedback = monitor.points.by_name.get(point.feedback)
        table.add_row(
            name,
            Text(control.phase + left, _PHASE.get(control.phase, "")),
            "–" if control.wanted is None else f"{control.wanted:+.4f}",
            "–" if control.written is None else f"{control.written:+.4f}",
            "–" if back is None or feedback is None else _value(feedback, back.value),
            Text(f"{control.state} {control.detail}", _STATE.get(control.state, "")),
            control.cause,
        )
    return Panel(table, title="set points and switching")


def _time(monitor: Monitor) -> Panel:
    last, median, high, worst = monitor.lag_ms()
    busy = sorted(monitor.busy_s) or [0.0]
    table = Table.grid(padding=(0, 2))
    table.add_row("lag, last", f"{last:.2f} ms")
    table.add_row("lag p50 / p99 / max", f"{median:.2f} / {high:.2f} / {worst:.2f} ms")
    table.add_row("step takes p50 / max", f"{1000 * busy[len(busy) // 2]:.0f} / {1000 * busy[-1]:.0f} ms")
    table.add_row("missed deadlines", Text(str(monitor.missed), "yellow" if monitor.missed else "green"))
    table.add_row("when too slow", monitor.overrun)
    if monitor.slipped_s:
        table.add_row("slipped", Text(f"{monitor.slipped_s:.3f} s", "yellow"))
    return Panel(table, title="real time")


def _activations(monitor: Monitor, height: int) -> Panel:
    table = Table.grid(padding=(0, 1), expand=True)
    for one in list(monitor.activations)[-max(4, height // 3) :][::-1]:
        table.add_row(f"{one.at:%H:%M:%S}", one.kind, Text(one.text, overflow="ellipsis", no_wrap=True))
    return Panel(table, title=f"calls of {', '.join(monitor.microgrids)}")


def _events(monitor: Monitor, height: int) -> Panel:
    table = Table.grid(padding=(0, 1), expand=True)
    for at_s, kind, text in list(monitor.events)[-max(4, height // 3) :][::-1]:
        table.add_row(f"{at_s:8.1f}", Text(kind, _STATE.get(kind, "")), Text(text, overflow="ellipsis", no_wrap=True))
    return Panel(table, title="events")
