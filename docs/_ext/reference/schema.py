"""Pages of the file formats, from the models that check the files."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from heila_mosaik.bridges import point_files, points
from heila_mosaik.study.microgrid_file import MicrogridFile
from heila_mosaik.study.schema import Scenario
from heila_mosaik.study.site import Site
from heila_mosaik.study.sweep.schema import SweepFile
from reference.text import code, fields_of, plain, split_unit, table

_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_HEAD = ("key", "type", "default", "unit", "meaning")


def scenario_page() -> str:
    """Page of the scenario file."""
    return (
        "# Scenario file\n\nYAML. `extends: other.yaml` builds on another file: mappings merge, everything else "
        "replaces. `--set a.b=value` on the command line comes last. `heila schema` prints the JSON schema for your "
        "editor, `heila check` reports every mistake with file and line.\n\n" + _model(Scenario)
    )


def microgrids_page() -> str:
    """Page of ``microgrids.yaml``."""
    return (
        "# microgrids.yaml\n\nThe microgrids of a grid folder. `heila check grids/<name>` reports every mistake.\n\n"
    ) + _model(MicrogridFile)


def sweep_page() -> str:
    """Page of the sweep file."""
    return "# Sweep file\n\nWhat `heila sweep` reads; see [sweeps](../../sweeps.md).\n\n" + _model(SweepFile)


def site_page() -> str:
    """Page of the site file."""
    return "# Site file\n\nWhat `heila actor` and `heila mixed` read; see [live actors](../../live.md).\n\n" + _model(
        Site
    )


def points_page() -> str:
    """Page of the point list."""
    meaning = fields_of(points.Point)
    aliases = {"attribute": "What it is in the study, `<element>:<quantity>`; empty: not an attribute of the study."}
    rows = []
    for column in point_files.COLUMNS:
        text, unit = split_unit(meaning.get(column, aliases.get(column, "")))
        required = "required" if column in point_files.REQUIRED else ""
        rows.append((code(column), required, unit, text))
    choices = [
        (code(column), ", ".join(code(each.value) for each in kind))
        for column, kind in (
            ("direction", points.Direction),
            ("type", points.PointType),
            ("fallback", points.Fallback),
            ("role", points.Role),
        )
    ]
    return (
        "# Point list\n\nCSV with one row a point, or YAML with a list of mappings of the same keys. "
        "`heila hil check points.csv` reports every mistake with file, line and column.\n\n"
        + table(("column", "", "unit", "meaning"), rows)
        + "\n## Choices\n\n"
        + table(("column", "values"), choices)
    )


def _model(model: type[BaseModel]) -> str:
    """Sections of a model: its own keys first, then one section a part."""
    whole = model.model_json_schema()
    parts = list(_sections("", whole, whole["$defs"], {model.__name__: model, **_classes(model)}))
    return "\n".join(parts)


def _classes(model: type[BaseModel], seen: dict[str, type[BaseModel]] | None = None) -> dict[str, type[BaseModel]]:
    """Every model reachable from a model, by name."""
    seen = {} if seen is None else seen
    for info in model.model_fields.values():
        waiting: list[Any] = [info.annotation]
        while waiting:
            each = waiting.pop()
            waiting.extend(getattr(each, "__args__", ()))
            if inspect.isclass(each) and issubclass(each, BaseModel) and each.__name__ not in seen:
                seen[each.__name__] = each
                _classes(each, seen)
    return seen


def _sections(
    prefix: str, part: Mapping[str, Any], defs: Mapping[str, Any], classes: Mapping[str, type[BaseModel]]
) -> Iterator[str]:
    rows, below = [], []
    required = part.get("required", [])
    for key, value in part.get("properties", {}).items():
        named = [(f"{prefix}{key}{suffix}", name) for suffix, name in _parts(value)]
        below += [(path, name) for path, name in named if "properties" in defs[name]]
        meaning, unit = split_unit(_meaning(value, defs))
        default = "required" if key in required else _default(value, defs)
        rows.append((code(key), _type(value, defs), default, unit, plain(meaning)))
    if rows:
        yield table(_HEAD, rows)
    for key, name in below:
        doc = inspect.cleandoc(classes[name].__doc__ or "") if name in classes else defs[name].get("description", "")
        title = f"{key} of type {_kind(defs[name])}" if _kind(defs[name]) else key
        yield f"## {title}\n\n" + "\n\n".join(plain(each) for each in doc.split("\n\n")) + "\n"
        yield from _sections(f"{key}.", defs[name], defs, classes)


def _kind(definition: Mapping[str, Any]) -> str:
    """Value of ``type`` of a variant."""
    kind = definition.get("properties", {}).get("type", {}).get("const")
    return code(kind) if kind else ""


def _parts(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Suffix of the key and name of every model below a value."""
    if "$ref" in value:
        yield "", str(value["$ref"]).rpartition("/")[2]
    for each in (*value.get("allOf", ()), *value.get("anyOf", ()), *value.get("oneOf", ())):
        yield from _parts(each)
    if isinstance(value.get("items"), dict):
        yield from (("[]" + suffix, name) for suffix, name in _parts(value["items"]))
    if (inside := _values(value)) is not None:
        yield from ((".NAME" + suffix, name) for suffix, name in _parts(inside))


def _values(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Schema of the values of a mapping with free keys."""
    patterns: list[Mapping[str, Any]] = list(value.get("patternProperties", {}).values())
    free = value.get("additionalProperties")
    return patterns[0] if patterns else free if isinstance(free, dict) else None


def _meaning(value: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "description" in value:
        return str(value["description"])
    names = [name for _, name in _parts(value)]
    if len(names) > 1:
        return "Each one of the types below."
    return str(defs[names[0]].get("description", "")).split("\n\n")[0] if names else ""


def _type(value: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in value:
        return "part" if "properties" in (found := defs[str(value["$ref"]).rpartition("/")[2]]) else _type(found, defs)
    if "const" in value:
        return code(json.dumps(value["const"]).strip('"'))
    if "enum" in value:
        return " \\| ".join(code(each) for each in value["enum"]).replace("\\|", "or")
    options = [*value.get("anyOf", ()), *value.get("oneOf", ()), *value.get("allOf", ())]
    if options:
        shown = [_type(each, defs) for each in options if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(shown))
    return _basic(value, defs)


def _basic(value: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    kind = str(value.get("type", "any value"))
    if kind == "array":
        if "prefixItems" in value:
            return f"list of {len(value['prefixItems'])}"
        inside = _type(value.get("items", {}), defs)
        return "list of table names" if inside.count("`") > 16 else f"list of {inside}"
    if kind == "object":
        of = _values(value)
        return f"mapping of {_type(of, defs)}" if of is not None else "mapping"
    bounds = [f"{sign} {value[name]:g}" for name, sign in _BOUNDS.items() if name in value]
    names = {"date-time": "time with zone"}
    shown = names.get(str(value.get("format", "")), kind)
    return f"{shown} {' and '.join(bounds)}" if bounds else shown


def _default(value: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "default" not in value:
        return ""
    default = value["default"]
    if default is None:
        return "absent"
    if isinstance(default, list | dict):
        if not default or len(json.dumps(default)) > 60:
            return "" if default and "part" in _type(value, defs) else "empty" if not default else "all"
        return code(json.dumps(default, ensure_ascii=False))
    return code(json.dumps(default, ensure_ascii=False).strip('"')) if default != "" else "empty"
