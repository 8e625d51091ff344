"""Where a sweep runs: this machine, a standing Dask scheduler, or a batch system that Dask asks for workers.

The cluster file is apart from the sweep file, so that the same sweep runs everywhere::

    kind: slurm            # local, slurm, pbs, sge, lsf, oar, htcondor, moab, kubernetes
    workers: 40
    options:               # handed to dask_jobqueue.SLURMCluster or dask_kubernetes.operator.KubeCluster as they are
      queue: batch
      cores: 1
      memory: 4GB
      walltime: "02:00:00"
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heila_mosaik.errors import HeilaError, Problem, ProblemsError
from heila_mosaik.study.yamlfile import read_yaml

_BATCH = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "htcondor": "HTCondorCluster",
    "moab": "MoabCluster",
}
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class ClusterError(HeilaError):
    """A cluster cannot be had."""

    exit_code = 2


class ClusterFile(BaseModel):
    """Contents of a cluster file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local", "slurm", "pbs", "sge", "lsf", "oar", "htcondor", "moab", "kubernetes"] = "local"
    workers: int = Field(default=0, ge=0, le=100_000, description="Workers to ask for; 0: one a core, local only.")
    adaptive: bool = Field(default=False, description="Ask for up to that many as there is work.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the cluster class.")


def read_cluster(path: Path) -> ClusterFile:
    """Read a cluster file.

    Raises:
        ProblemsError: With what is wrong in it.
    """
    document = read_yaml(path)
    problems = list(document.problems)
    if not problems:
        try:
            return ClusterFile.model_validate(document.data or {})
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                keys = tuple(detail["loc"])
                where = document.places.get(keys, str(path))
                remedy = f"known keys: {', '.join(ClusterFile.model_fields)}"
                problems.append(
                    Problem(what=f"{'.'.join(map(str, keys))}: {detail['msg']}", where=where, remedy=remedy)
                )
    raise ProblemsError(f"cluster {path}", problems)


@contextmanager
def open_cluster(file: ClusterFile, jobs: int = 0, scratch: Path | None = None) -> Iterator[Any]:
    """A cluster for the length of the block; ``scheduler_address`` is where clients connect.

    Args:
        file: What is wanted.
        jobs: Workers on this machine; 0: one a core.
        scratch: Folder for the workers' own files.

    Raises:
        ClusterError: If the package behind it is missing.
    """
    cluster = _local(jobs or file.workers, scratch) if file.kind == "local" else make_cluster(file)
    try:
        if file.kind != "local" and file.workers:
            if file.adaptive:
                cluster.adapt(minimum=0, maximum=file.workers)
            else:
                cluster.scale(file.workers)
        yield cluster
    finally:
        cluster.close(timeout=30)


def make_cluster(file: ClusterFile) -> Any:
    """Cluster of a batch system or Kubernetes, without workers yet.

    Raises:
        ClusterError: If the package behind it is missing or refuses the options.
    """
    package, name = (
        ("dask_kubernetes.operator", "KubeCluster")
        if file.kind == "kubernetes"
        else ("dask_jobqueue", _BATCH[file.kind])
    )
    if importlib.util.find_spec(package.partition(".")[0]) is None:
        what = package.partition(".")[0].replace("_", "-")
        raise ClusterError(f"cluster kind {file.kind} needs the package {what}: pip install {what}")
    options = dict(file.options)
    if file.kind == "kubernetes":
        options.setdefault("env", {}).update(dict.fromkeys(_ONE_THREAD, "1"))
    else:
        options.setdefault("processes", options.get("cores", 1))
        lines = [f"export {variable}=1" for variable in _ONE_THREAD]
        options["job_script_prologue"] = [*options.get("job_script_prologue", []), *lines]
    try:
        return getattr(importlib.import_module(package), name)(**options)
    except (TypeError, ValueError) as error:
        raise ClusterError(f"{name} does not take these options: {error}; correct them in the cluster file") from error


@contextmanager
def _without_interrupt() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C: the terminal sends it to all, and the driver alone answers it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _local(jobs: int, scratch: Path | None) -> Any:
    import dask  # noqa: PLC0415 - extra 'study'
    from distributed import LocalCluster  # noqa: PLC0415

    has_page = importlib.util.find_spec("bokeh") is not None
    # Workers start while the machine is busy with their imports: the default patience of Dask is short for that.
    with (
        _without_interrupt(),
        dask.config.set(
            {
                "distributed.nanny.pre-spawn-environ": dict.fromkeys(_ONE_THREAD, "1"),
                "distributed.comm.timeouts.connect": "60s",
                "distributed.worker.profile.enabled": False,
            }
        ),
    ):
        return LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=jobs or len(os.sched_getaffinity(0)),
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=":0" if has_page else None,
            local_directory=None if scratch is None else str(scratch),
            silence_logs=50,
            memory_limit="auto",
        )
