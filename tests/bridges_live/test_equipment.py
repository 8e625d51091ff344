"""A live actor with equipment behind IEC 60870-5-104, as its site file names it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

import heila_mosaik
from heila_mosaik.bridges import keys as keyring
from heila_mosaik.bridges.audit import verify_audit
from heila_mosaik.bridges.clock import PacedClock
from heila_mosaik.bridges.equipment import EquipmentLostError, NoEquipmentError
from heila_mosaik.bridges.lab_child import virtual_lab
from heila_mosaik.bridges.node import LiveNode, NodeSettings
from heila_mosaik.errors import ProblemsError
from heila_mosaik.study.hil_bench_actors import BenchMgms, command
from heila_mosaik.study.live_equipment import Arming, make_field, run_with
from heila_mosaik.study.site import load_site

POINTS = Path(heila_mosaik.__file__).parent / "bridges" / "data" / "com600_ref615.csv"
SITE = """\
scenario: unread.yaml
broker: null
actors:
  mgms: {{equipment: {{points: {points}, port: {port}, every_s: 0.2}}}}
"""


@pytest.fixture(scope="module")
def port():
    with virtual_lab(POINTS) as found:
        yield found


class Measuring(BenchMgms):
    """Keeps what it was told of the breaker."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def step(self, now, inbox, measurements):
        if measurements is not None:
            self.seen.append(measurements.values[measurements.elements.index("feeder_breaker")])
        return super().step(now, inbox, measurements)


def _run(tmp_path, port, arming, act):
    (tmp_path / "site.yaml").write_text(SITE.format(points=POINTS, port=port))
    site, clock, actor = load_site(tmp_path / "site.yaml"), PacedClock.real(), Measuring()
    keyring.write_lab(tmp_path / "keys", ["mgms"])
    settings = NodeSettings(keys=tmp_path / "keys", store=tmp_path / "mgms.db", registration=False, partners=())
    field = make_field(site, "mgms", clock.now, arming)

    async def live():
        node = LiveNode(actor, clock, settings, control=field)
        running = asyncio.create_task(run_with(node, field, arming, 20.0))
        try:
            await _until(lambda: actor.seen or running.done())
            if not running.done():
                await act(node, field, actor)
        finally:
            node.host.stop()
            await running

    asyncio.run(live())
    return actor, field


async def _until(condition, limit_s=20.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def test_an_armed_actor_opens_the_breaker_and_measures_it(tmp_path, port):
    async def act(node, field, actor):
        actor.next = command(node.host.now(), False, "test")
        await node.host.take(node.host.now(), ())
        await _until(lambda: 0.0 in actor.seen)
        await asyncio.sleep(1.1)  # orders to a breaker are at least 1 s apart
        actor.next = command(node.host.now(), True, "test again")
        await node.host.take(node.host.now(), ())
        await _until(lambda: actor.seen[-1] == 1.0)

    actor, _ = _run(tmp_path, port, Arming(points=("breaker_command",), for_s=60.0, who="anna"), act)
    assert actor.seen[0] == 1.0
    audit = tmp_path / "state" / "mgms.audit.jsonl"
    assert verify_audit(audit) == []
    assert "by anna" in audit.read_text()


def test_an_actor_that_is_not_armed_only_reads(tmp_path, port):
    async def act(node, field, actor):
        actor.next = command(node.host.now(), False, "test")
        await node.host.take(node.host.now(), ())
        await asyncio.sleep(0.5)

    actor, _ = _run(tmp_path, port, Arming(), act)
    assert set(actor.seen) == {1.0}
    assert "not_armed" in (tmp_path / "state" / "mgms.audit.jsonl").read_text()


def test_a_bridge_that_dies_ends_the_actor(tmp_path, port):
    async def act(node, field, actor):
        field.process._process.kill()
        await _until(lambda: node.host.stopping)

    with pytest.raises(EquipmentLostError):
        _run(tmp_path, port, Arming(), act)


def test_no_equipment_is_said(tmp_path):
    (tmp_path / "site.yaml").write_text(SITE.format(points=POINTS, port=1))
    keyring.write_lab(tmp_path / "keys", ["mgms"])
    settings = NodeSettings(keys=tmp_path / "keys", store=tmp_path / "mgms.db", registration=False, partners=())
    clock = PacedClock.real()
    field = make_field(load_site(tmp_path / "site.yaml"), "mgms", clock.now, Arming())
    node = LiveNode(BenchMgms(), clock, settings, control=field)
    with pytest.raises(NoEquipmentError, match=r"127\.0\.0\.1:1"):
        asyncio.run(run_with(node, field, Arming(), 0.5))


@pytest.mark.parametrize(
    ("actor", "arming", "where"),
    [
        ("{equipment: {points: P}}", Arming(points=("der_p",), for_s=1e9), ["--arm", "--arm-for"]),
        ("{}", Arming(points=("der_p_setpoint",)), ["--arm"]),
    ],
)
def test_arming_what_cannot_be_armed_is_refused(tmp_path, actor, arming, where):
    path = tmp_path / "site.yaml"
    path.write_text(f"scenario: s\nactors:\n  mgms: {actor}\n".replace("P}", f"{POINTS}}}"))
    with pytest.raises(ProblemsError) as caught:
        make_field(load_site(path), "mgms", PacedClock.real().now, arming)
    assert [problem.where for problem in caught.value.problems] == where


def test_equipment_needs_a_clock_of_its_own(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(f"scenario: s\nclock: study\nactors:\n  mgms: {{equipment: {{points: {POINTS}}}}}\n")
    with pytest.raises(ProblemsError, match="heila hil run"):
        load_site(path)
