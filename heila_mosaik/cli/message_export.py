"""What ``heila message export`` does: choose messages, write them in another form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from heila_mosaik.bridges.schedules import FORMS, Codes, cim_schedules, market_document, to_json, to_xml
from heila_mosaik.bridges.smartapi import RefusedError, write_message
from heila_mosaik.bridges.smartapi.files import form_of, load, read_bytes
from heila_mosaik.bridges.smartapi.forms import to_json_ld, to_rdf_xml
from heila_mosaik.domain.codec import from_json_dict, message_to_json_dict
from heila_mosaik.domain.information import FlexibilityForecast, Message, OperationPlan
from heila_mosaik.errors import Problem, ProblemsError

_CIM = (OperationPlan, FlexibilityForecast)


def select(source: Path, kinds: Sequence[str], identities: Sequence[str], to: str) -> list[Message]:
    """Messages of a file or run folder that are asked for and have the form.

    Raises:
        ProblemsError: If the source cannot be read or nothing is left.
    """
    found = list(_of_run(source) if source.is_dir() else [_of_file(source)])
    chosen = [
        message
        for message in found
        if (not kinds or type(message.body).__name__ in kinds)
        and (not identities or message.id in identities or message.body.id in identities)
    ]
    fitting = [message for message in chosen if _has_form(message, to)]
    if not fitting:
        raise ProblemsError(f"message export {source}", [_nothing(source, found, chosen, to)])
    return fitting


def _has_form(message: Message, to: str) -> bool:
    if to.startswith("iec62325"):
        return type(message.body) in FORMS
    return to != "cim" or isinstance(message.body, _CIM)


def _nothing(source: Path, found: Sequence[Message], chosen: Sequence[Message], to: str) -> Problem:
    if chosen:
        have = sorted({type(message.body).__name__ for message in chosen})
        forms = [cls.__name__ for cls in (_CIM if to == "cim" else FORMS)]
        return Problem(
            what=f"{', '.join(have)} has no form {to}", where=str(source), remedy=f"it is for {', '.join(forms)}"
        )
    kinds = sorted({type(message.body).__name__ for message in found})
    return Problem(
        what=f"none of {len(found)} messages fits --kind and --id",
        where=str(source),
        remedy=f"there are {', '.join(kinds) or 'none'}",
    )


def _of_file(path: Path) -> Message:
    payload = read_bytes(path)
    try:
        return load(payload, form_of(path, payload))
    except RefusedError as error:
        problem = Problem(
            what=f"{error.problem.what} ({error.reason})",
            where=f"{path}: {error.problem.where}",
            remedy=error.problem.remedy,
        )
        raise ProblemsError(f"message {path}", [problem]) from error


def _of_run(folder: Path) -> Iterator[Message]:
    from heila_mosaik.results.folder import RunFolder  # noqa: PLC0415 - pandas, only for a run

    messages = RunFolder(folder).messages
    for row in messages[messages["status"] != "repeated"].to_dict("records"):
        yield Message(
            id=row["id"],
            sender=row["sender"],
            receiver=row["receiver"],
            sent_at=row["sent_at"].to_pydatetime(),
            body=from_json_dict(row["kind"], json.loads(row["body"])),
        )


class Export:
    """Writes messages in one form and collects what does not fit.

    Args:
        to: Form.
        codes: Official codes by name.
        scheme: Coding scheme of the codes.
        domain: Code of the grid area.
    """

    def __init__(self, to: str, codes: Mapping[str, str], scheme: str, domain: str) -> None:
        self._to = to
        self._codes = Codes(scheme=scheme, domain=domain, codes=codes)
        self._problems: list[Problem] = []

    def __call__(self, message: Message) -> bytes:
        """Bytes of a message; empty if it cannot be written, which :meth:`raise_problems` then tells."""
        try:
            return self._write(message)
        except RefusedError as error:
            self._problems.append(error.problem)
            return b""

    def _write(self, message: Message) -> bytes:
        match self._to:
            case "turtle":
                return write_message(message)
            case "json-ld":
                return to_json_ld(message)
            case "rdf-xml":
                return to_rdf_xml(message)
            case "json":
                return (json.dumps(message_to_json_dict(message), indent=1, ensure_ascii=False) + "\n").encode()
            case "cim":
                assert isinstance(message.body, _CIM)
                return cim_schedules(message.body)
        document = market_document(message, self._codes)
        return to_json(document) if self._to == "iec62325-json" else to_xml(document)

    def raise_problems(self) -> None:
        """Raise everything that does not fit.

        Raises:
            ProblemsError: If anything does not.
        """
        problems = [*self._problems, *self._codes.problems]
        if problems:
            raise ProblemsError(f"message export to {self._to}", problems)


def write_out(written: Sequence[tuple[str, bytes]], out: Path | None, suffix: str) -> Iterator[str]:
    """Write to a file, a folder or standard output; yields what to print."""
    if out is None:
        for _, content in written:
            yield content.decode("utf-8").rstrip("\n")
        return
    if len(written) == 1 and out.suffix and not out.is_dir():
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(written[0][1])
        yield str(out)
        return
    out.mkdir(parents=True, exist_ok=True)
    for identity, content in written:
        (out / f"{identity.replace('/', '_')}.{suffix}").write_bytes(content)
    yield f"{len(written)} files in {out}"
