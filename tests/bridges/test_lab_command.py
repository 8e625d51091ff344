"""The laboratory as a user meets it: the command, its menu and its answers."""

import asyncio
import re
import subprocess
import sys

import pytest

from heila_mosaik.bridges.iec104.backends import Backend, make_client
from heila_mosaik.bridges.iec104.client import LinkSettings, LinkState, Received
from heila_mosaik.bridges.lab.console import Console
from heila_mosaik.bridges.lab.faults import MENU, Fault, parse_fault
from heila_mosaik.bridges.lab.runner import collect_faults
from heila_mosaik.bridges.lab.station import StationSettings, VirtualLab
from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.domain.quantities import Quality
from heila_mosaik.errors import ProblemsError

POINTS = example_points()
HEILA = [sys.executable, "-c", "from heila_mosaik.cli import main; main()"]


def heila(*arguments, **given):
    return subprocess.run([*HEILA, *arguments], capture_output=True, text=True, timeout=60, check=False, **given)


def test_command_serves_takes_lines_and_ends():
    async def main():
        pipe = asyncio.subprocess.PIPE
        lab = await asyncio.create_subprocess_exec(
            *HEILA, "lab", "--port", "0", "--fault", "0:wrong_quality:60:1", stdin=pipe, stdout=pipe
        )
        try:
            line = (await asyncio.wait_for(lab.stdout.readline(), 40.0)).decode()
            port = int(re.search(r"listening on 127\.0\.0\.1:(\d+)", line).group(1))
            client = make_client("hat", LinkSettings(host="127.0.0.1", port=port), POINTS)
            await client.start()
            values = []
            while client.state is not LinkState.OPEN:
                event = await asyncio.wait_for(client.receive(), 10.0)
                values += [event] if isinstance(event, Received) else []
            assert {value.quality for value in values} == {Quality.QUESTIONABLE}  # not topical
            lab.stdin.write(b"clear\nstatus\n\nquit\n")
            said = (await asyncio.wait_for(lab.stdout.read(), 10.0)).decode()
            assert "clients 1" in said
            assert await lab.wait() == 0
            await client.stop()
        finally:
            if lab.returncode is None:
                lab.kill()
                await lab.wait()

    asyncio.run(main())


def test_wrong_usage_is_told_all_at_once_and_leaves_with_2(tmp_path):
    script = tmp_path / "faults.yaml"
    script.write_text("- {at_s: 1, fault: slo, for_s: x}\n- {at_s: 2, fault: burst}\n- 7\n")
    answer = heila("lab", "--port", "0", "--faults", str(script))
    assert answer.returncode == 2
    assert "did you mean 'slow'" in answer.stderr
    assert "4 problems" in answer.stderr
    assert "Traceback" not in answer.stderr
    answer = heila("lab", "--port", "0", "--tls-ca", str(tmp_path / "ca.pem"))
    assert (answer.returncode, answer.stderr.count("is missing")) == (2, 2)


def test_taken_port_is_a_clear_error():
    async def main():
        async with VirtualLab(POINTS) as lab:
            answer = await asyncio.to_thread(heila, "lab", "--port", str(lab.port))
            assert answer.returncode == 2
            assert f"port {lab.port}" in answer.stderr
            assert "remedy" in answer.stderr

    asyncio.run(main())


def test_menu_covers_every_fault_and_texts_are_read(tmp_path):
    assert set(MENU) == set(Fault)
    step = parse_fault("5:slow:10:0.5", "x")
    assert (step.at_s, step.fault, step.for_s, step.size) == (5.0, Fault.SLOW, 10.0, 0.5)
    for bad in ("5", "x:slow:1:1", "1:slow:1:1:1", "1:slow", "-1:frozen", "1:lost_path:1:3"):
        with pytest.raises(ProblemsError):
            parse_fault(bad, "x")
    script = tmp_path / "faults.yaml"
    script.write_text("- {at_s: 9, fault: frozen}\n")
    assert [step.fault for step in collect_faults(script, ["2:local:1"])] == [Fault.LOCAL, Fault.FROZEN]


def test_console_works_the_front_panel():
    async def main():
        said = []
        async with VirtualLab(POINTS, StationSettings(backend=Backend.HAT), tell=said.append) as lab:
            console = Console(lab, said.append)
            for line in ("local", "open", "source 1.02", "load x", "nonsense", "frozen 5", "help"):
                assert await console.line(line)
            await asyncio.sleep(0.2)
            assert (lab.bay.local, lab.bay.closed, lab.bay.source_pu) == (True, False, 1.02)
            assert lab.faults == ("frozen",)
            for line in ("remote", "close", "clear", "status", "short_circuit 0.5 2"):
                assert await console.line(line)
            await asyncio.sleep(0.4)
            assert (lab.bay.closed, lab.bay.tripped) == (False, True)
            assert await console.line("close")
            assert "tripped" in said[-1]
            await console.line("reset")
            await console.line("close")
            await asyncio.sleep(0.2)
            assert lab.bay.closed is True
            assert not await console.line("quit")
        text = "\n".join(said)
        for part in ("write 'load <number>'", "there is no fault 'nonsense'", "breaker open", "short_circuit"):
            assert part in text

    asyncio.run(main())
