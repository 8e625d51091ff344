"""``heila keys``: keys and certificates of a laboratory."""
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

keys_app = typer.Typer(name="keys", help="Keys and certificates of a laboratory.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Key folder.")]
Hosts = Annotated[list[str] | None, typer.Option("--host", help="Name or address the servers are reached by; repeat.")]
Days = Annotated[int, typer.Option(min=1, max=3650, help="Validity of the certificates. [d]")]


@keys_app.command("make")
def make(
    folder: Folder,
    actors: Annotated[list[str] | None, typer.Argument(help="Names of actors.")] = None,
    scenario: Annotated[Path | None, typer.Option(help="Take the names of all actors from this scenario.")] = None,
    hosts: Hosts = None,
    days: Days = 365,
) -> None:
    """Make signing, encryption and TLS keys for every actor, for the broker and the study, and the CA.

    Nothing that exists is overwritten.
    """
    from heila_mosaik.bridges.broker import NAME as BROKER
    from heila_mosaik.bridges.coordinator import NAME as STUDY
    from heila_mosaik.bridges.keys import write_lab
    from heila_mosaik.errors import Problem, ProblemsError

    names = list(actors or [])
    if scenario is not None:
        names += scenario_actors(scenario)
    if not names:
        problem = Problem(what="no actor is named", where="arguments", remedy="name actors, or give --scenario")
        raise ProblemsError("keys", [problem])
    names = list(dict.fromkeys([*names, STUDY, BROKER]))
    write_lab(folder, names, days=days, hosts=tuple(hosts or ("localhost",)))
    typer.echo(f"{folder}: keys of {', '.join(names)}")
    typer.echo(f"{folder}/ca.key signs certificates: keep it where nobody else reads it")


def scenario_actors(path: Path) -> list[str]:
    """Names of all actors of a scenario."""
    from heila_mosaik.study.build import build_study, make_actors
    from heila_mosaik.study.loader import load_scenario

    scenario = load_scenario(path, []).scenario
    return [actor.name for actor in make_actors(build_study(scenario), flexibility=scenario.flexibility)[0]]


@keys_app.command("rotate")
def rotate(
    folder: Folder,
    actor: Annotated[str, typer.Argument(help="Whose keys.")],
    tls: Annotated[bool, typer.Option("--tls", help="Issue a new TLS certificate too (needs the CA's key).")] = False,
    hosts: Hosts = None,
    days: Days = 365,
) -> None:
    """Put new keys in front of an actor's old ones; it takes them up while it runs.

    The keys before stay valid for messages under way; the ones before those go.
    """
    from heila_mosaik.bridges import keys

    if tls:
        keys.renew(folder, actor, days=days, hosts=tuple(hosts or ("localhost",)))
    fresh = keys.rotate(folder, actor)
    typer.echo(f"{actor} signs with {fresh.signing[0].kid}")
    if tls:
        typer.echo("the new certificate is shown from the next start on")


@keys_app.command("show")
def show(folder: Folder) -> None:
    """Show whose keys a folder holds and until when the certificates hold."""
    from rich.console import Console
    from rich.table import Table

    from heila_mosaik.bridges.keys import holders

    table = Table("actor", "signing keys, newest first", "certificate until")
    for holder in holders(folder):
        kids = "\n".join(kid.partition("#")[2] for kid in holder.kids)
        table.add_row(holder.actor, kids, holder.expires.date().isoformat())
    Console().print(table)


@keys_app.command("export")
def export(
    folder: Folder,
    actor: Annotated[str, typer.Argument(help="Whose keys.")],
    out: Annotated[Path, typer.Argument(help="Folder to write, for example on a stick.")],
) -> None:
    """Write what one actor needs in another laboratory: its keys, the CA's certificate, everybody's public keys."""
    from heila_mosaik.bridges import keys

    keys.export(folder, actor, out)
    typer.echo(f"{out}: keys of {actor}; no other private key is in it")
