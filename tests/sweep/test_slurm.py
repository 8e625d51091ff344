"""A sweep over a real SLURM of one machine (Debian's slurm-wlm), started by the test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from heila_mosaik.study.sweep.plan import make_plan
from heila_mosaik.study.sweep.run import Place, run_sweep

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("slurmctld") is None or "HEILA_SLOW" not in os.environ,
        reason="needs root, slurm-wlm and HEILA_SLOW=1",
    ),
]

CONFIGURATION = """\
ClusterName=heila
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmctldPort={ctld}
SlurmdPort={d}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/ctld.pid
SlurmdPidFile={place}/d.pid
SlurmctldLogFile={place}/ctld.log
SlurmdLogFile={place}/d.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=night Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / "slurm"
    for name in ("state", "spool"):
        (place / name).mkdir(parents=True)
    text = CONFIGURATION.format(
        host=socket.gethostname().partition(".")[0], place=place, ctld=free_port(), d=free_port(), cores=os.cpu_count()
    )
    (place / "slurm.conf").write_text(text)
    monkeypatch.setenv("SLURM_CONF", str(place / "slurm.conf"))
    for program in ("slurmctld", "slurmd"):
        subprocess.run([program, "-f", str(place / "slurm.conf")], check=True)
    try:
        deadline = time.monotonic() + 60
        while (
            "idle"
            not in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False).stdout
        ):
            assert time.monotonic() < deadline, (place / "ctld.log").read_text()
            time.sleep(0.5)
        yield place
    finally:
        subprocess.run(["scontrol", "shutdown"], check=False)
        pids = [int((place / name).read_text()) for name in ("d.pid", "ctld.pid") if (place / name).is_file()]
        left = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
        for process in [child for each in left for child in each.children(recursive=True)]:
            process.kill()
        _, alive = psutil.wait_procs(left, timeout=10)
        for process in alive:
            process.kill()


def test_a_sweep_over_slurm_has_the_bytes_of_one_without(tmp_path, sweep_file, slurm, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(
        "kind: slurm\nworkers: 2\noptions:\n  queue: night\n  cores: 1\n  memory: 1GB\n  walltime: '00:10:00'\n"
        f"  scheduler_options: {{host: 127.0.0.1, dashboard_address: ':0'}}\n  local_directory: {slurm}\n"
        f"  log_directory: {slurm}\n"
    )
    plan = make_plan(sweep_file(3))
    run_sweep(plan, tmp_path / "here", Place(jobs=-1))
    tally = run_sweep(plan, tmp_path / "there", Place(cluster=cluster))
    assert (tally.done, tally.failed) == (6, 0)
    names = [tmp_path / where / "results" / "part-00000.parquet" for where in ("here", "there")]
    assert names[0].read_bytes() == names[1].read_bytes()
