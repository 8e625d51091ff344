"""Choosing a backend: ``hat`` (hat-drivers, in process, TLS) or ``c104`` (in a process of its own)."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum

from heila_mosaik.bridges.iec104.client import Iec104Client, LinkSettings, link_problems
from heila_mosaik.bridges.iec104.redundant import RedundantClient
from heila_mosaik.bridges.points import PointList
from heila_mosaik.errors import HeilaError, Problem, ProblemsError


class Backend(StrEnum):
    """Implementation of the protocol."""

    HAT = "hat"
    C104 = "c104"


class BackendMissingError(HeilaError):
    """The library of a backend is not installed.

    Attributes:
        backend: Backend asked for.
    """

    exit_code = 2

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        super().__init__(backend)

    def __str__(self) -> str:
        return (
            f"IEC 60870-5-104 backend '{self.backend.value}': its library is not installed\n"
            "    remedy: pip install 'heila-mosaik[iec104]'"
        )


def require(backend: Backend) -> None:
    """See that the library of a backend is there, without importing c104.

    Raises:
        BackendMissingError: If it is not.
    """
    name = {Backend.HAT: "hat.drivers", Backend.C104: "c104"}[backend]
    try:
        found = importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise BackendMissingError(backend)


def backend_problems(backend: Backend, link: LinkSettings, where: str = "link") -> list[Problem]:
    """Everything that is wrong with the settings of a link, or that the backend cannot do."""
    problems = link_problems(link, where)
    if backend is not Backend.C104:
        return problems
    if link.tls is not None:
        what = "c104 2.2.1 cannot be a TLS client (its issue 64)"
        problems.append(Problem(what=what, where=f"{where}, tls", remedy="use the backend hat for TLS"))
    for name in ("t0_s", "t1_s", "t2_s", "t3_s"):
        value = getattr(link, name)
        if value != int(value):
            what = f"{name} is {value:g}: c104 takes whole seconds"
            problems.append(Problem(what=what, where=f"{where}, {name}", remedy="round it, or use the backend hat"))
    return problems


def _freshness_problems(link: LinkSettings, points: PointList) -> Iterator[Problem]:
    """A value that does not change is heard of at the next interrogation only: it must not go stale before."""
    needed = {name for point in points.controlled for name in (point.breaker, point.permission, point.local)}
    needed |= {point.feedback for point in points.controlled}
    for point in points.monitored:
        if point.name in needed and point.stale_after_s <= link.refresh_s:
            what = f"{point.name} is stale after {point.stale_after_s:g} s, interrogated every {link.refresh_s:g} s"
            remedy = "shorten refresh_s of the link or lengthen stale_after_s of the point"
            yield Problem(what=what, where=point.where or f"point {point.name}", remedy=remedy)


def make_client(backend: Backend | str, link: LinkSettings, points: PointList) -> Iec104Client:
    """Client for one station, over one or two paths.

    Raises:
        BackendMissingError: If the library is not installed.
        ProblemsError: With everything that is wrong with the settings.
    """
    chosen = Backend(backend)
    require(chosen)
    problems = [*backend_problems(chosen, link), *_freshness_problems(link, points)]
    if problems:
        raise ProblemsError(f"link to {link.host}:{link.port}", problems)
    make = _maker(chosen)
    if link.second is None:
        return make(link, points)
    other = replace(link, host=link.second[0], port=link.second[1], second=None)
    paths = [make(path, points) for path in (replace(link, second=None), other)]
    return RedundantClient(paths, link.switch_s, link.queue_size)


def _maker(backend: Backend) -> Callable[[LinkSettings, PointList], Iec104Client]:
    # Each backend is imported only when it is used: the other library need not be there.
    name, kind = {Backend.HAT: ("hat_client", "HatClient"), Backend.C104: ("c104_client", "C104Client")}[backend]
    maker: Callable[[LinkSettings, PointList], Iec104Client] = getattr(
        importlib.import_module(f"heila_mosaik.bridges.iec104.{name}"), kind
    )
    return maker
