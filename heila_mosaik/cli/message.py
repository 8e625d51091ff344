"""``heila message``: check, show and export message files and the messages of a run."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from heila_mosaik.errors import Problem, ProblemsError

if TYPE_CHECKING:
    from heila_mosaik.bridges.smartapi import PlainNotification
    from heila_mosaik.domain.information import Message

message_app = typer.Typer(name="message", help="Check, show and export messages.", no_args_is_help=True)

Zone = Annotated[
    str | None,
    typer.Option("--assume-zone", metavar="ZONE", help="Zone of times without offset, for example Europe/Helsinki."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")]


class Target(StrEnum):
    """Form to export to."""

    TURTLE = "turtle"
    JSON_LD = "json-ld"
    RDF_XML = "rdf-xml"
    JSON = "json"
    IEC62325 = "iec62325"
    IEC62325_JSON = "iec62325-json"
    CIM = "cim"


_SUFFIX = {
    Target.TURTLE: "ttl", Target.JSON_LD: "jsonld", Target.RDF_XML: "rdf", Target.JSON: "json",
    Target.IEC62325: "xml", Target.IEC62325_JSON: "json", Target.CIM: "rdf",
}  # fmt: skip


@message_app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Turtle, JSON-LD, RDF/XML or JSON files.")],
    as_json: AsJson = False,
) -> None:
    """Say everything that is wrong with message files; a message that is none of our objects is told as such."""
    from heila_mosaik.bridges.smartapi.check import check_message

    answers = [_checked(path, check_message(path)) for path in files]
    if as_json:
        typer.echo(json.dumps([answer for answer, _ in answers], indent=1, ensure_ascii=False))
    problems = [problem for _, found in answers for problem in found]
    if problems and not as_json:
        raise ProblemsError(f"{len(files)} message file{'s' if len(files) > 1 else ''}", problems)
    if not as_json:
        for answer, _ in answers:
            typer.echo(f"{answer['file']}: {answer['holds']}")
    if problems:
        raise typer.Exit(2)


def _checked(path: Path, problems: Sequence[Problem]) -> tuple[dict[str, Any], Sequence[Problem]]:
    answer: dict[str, Any] = {"file": str(path), "holds": None, "problems": []}
    if not problems:
        answer["holds"] = _holds(_load(path, None))
        return answer, problems
    plain = _plain_only(path)
    if plain is not None:
        answer["holds"] = _holds(plain)
        return answer, ()
    answer["problems"] = [{"what": each.what, "where": each.where, "remedy": each.remedy} for each in problems]
    return answer, problems


def _plain_only(path: Path) -> PlainNotification | None:
    """What a Smart API peer said that does not claim to be one of our objects."""
    from heila_mosaik.bridges.smartapi import PlainNotification, RefusedError

    try:
        found = _load(path, None)
    except (ProblemsError, RefusedError):
        return None
    return found if isinstance(found, PlainNotification) else None


def _holds(found: Message | PlainNotification) -> str:
    from heila_mosaik.domain.information import Message

    if isinstance(found, Message):
        return f"{type(found.body).__name__} {found.body.id} from {found.sender} to {found.receiver}"
    return (
        f"Smart API {found.kind} of {found.generated_by or 'nobody'} with {len(found.values)} values and "
        f"{len(found.series)} time series, none of our objects"
    )


def _load(path: Path, zone: str | None) -> Message | PlainNotification:
    from heila_mosaik.bridges.smartapi.files import form_of, load_any, read_bytes

    payload = read_bytes(path)
    return load_any(payload, form_of(path, payload), _zone(zone))


def _zone(name: str | None) -> ZoneInfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        problem = Problem(what=f"{name!r} is no time zone", where="--assume-zone", remedy="use an IANA name")
        raise ProblemsError("message show", [problem]) from error


@message_app.command()
def show(
    file: Annotated[Path, typer.Argument(help="Turtle, JSON-LD, RDF/XML or JSON file.")],
    assume_zone: Zone = None,
    as_json: AsJson = False,
) -> None:
    """Show what a message says, with units; also messages of the original Smart API library."""
    from heila_mosaik.bridges.smartapi import RefusedError
    from heila_mosaik.cli.message_tables import as_plain_json, show_message
    from heila_mosaik.domain.codec import message_to_json_dict
    from heila_mosaik.domain.information import Message

    try:
        found = _load(file, assume_zone)
    except RefusedError as error:
        given = Problem(
            what=f"{error.problem.what} ({error.reason})",
            where=f"{file}: {error.problem.where}",
            remedy=error.problem.remedy,
        )
        raise ProblemsError(f"message {file}", [given]) from error
    if as_json:
        tree = message_to_json_dict(found) if isinstance(found, Message) else as_plain_json(found)
        typer.echo(json.dumps(tree, indent=1, ensure_ascii=False))
    else:
        show_message(found)


@message_app.command()
def export(
    source: Annotated[Path, typer.Argument(help="Message file or run folder.")],
    to: Annotated[Target, typer.Option("--to", help="Form to write.")],
    out: Annotated[Path | None, typer.Option(help="File, or folder for several; standard output without it.")] = None,
    kinds: Annotated[list[str] | None, typer.Option("--kind", help="Only these objects, for example Offer.")] = None,
    identities: Annotated[list[str] | None, typer.Option("--id", help="Only messages or objects of this id.")] = None,
    codes: Annotated[
        list[str] | None, typer.Option("--code", metavar="NAME=CODE", help="Official code of an actor or microgrid.")
    ] = None,
    scheme: Annotated[str, typer.Option(help="Coding scheme of the codes: A01 EIC, A10 GS1, NFI Finland.")] = "NFI",
    domain: Annotated[str, typer.Option(help="Code of the grid area.")] = "DSO-AREA",
) -> None:
    """Write messages in another form: RDF, JSON, IEC 62325-451-7 documents, CIM schedules."""
    from heila_mosaik.cli.message_export import Export, select, write_out

    chosen = select(source, kinds or [], identities or [], to.value)
    work = Export(to.value, _pairs(codes or []), scheme, domain)
    written = [(message.id, work(message)) for message in chosen]
    work.raise_problems()
    for line in write_out(written, out, _SUFFIX[to]):
        typer.echo(line)


def _pairs(given: Sequence[str]) -> dict[str, str]:
    wrong = [each for each in given if "=" not in each]
    if wrong:
        problem = Problem(what=f"{wrong[0]!r} is not NAME=CODE", where="--code", remedy="write for example ams=6430001")
        raise ProblemsError("message export", [problem])
    return dict(each.split("=", 1) for each in given)
