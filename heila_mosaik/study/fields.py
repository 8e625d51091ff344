"""Fields of a pydantic schema by the place of a key in a file, for messages that say what belongs there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def model_at(root: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel] | None:
    """Model of the part that stands at a place; ``None`` if there is none, or no part with keys of its own."""
    annotation: Any = root
    for part in location:
        inside = _inside(annotation, part)
        if inside is None:
            return None
        annotation = inside
    return next((each for each in _options(annotation) if _is_model(each)), None)


def keys_at(root: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Keys that may stand at a place."""
    model = model_at(root, location)
    return list(model.model_fields) if model is not None else []


def describe(root: type[BaseModel], location: Sequence[str | int]) -> str:
    """Name and description of the key at a place; empty if the schema does not know it."""
    parent = model_at(root, location[:-1]) if location else None
    if parent is None or str(location[-1]) not in parent.model_fields:
        return ""
    description = parent.model_fields[str(location[-1])].description
    return f"{location[-1]}: {description}" if description else f"add {location[-1]}"


def _inside(annotation: Any, part: str | int) -> Any:
    """What stands under a key or index; the annotation itself where pydantic names a branch of a union."""
    for option in _options(annotation):
        if _is_model(option):
            if str(part) in option.model_fields:
                return option.model_fields[str(part)].annotation
            if part == option.__name__:
                return option
        elif get_origin(option) is dict:
            return get_args(option)[1]
        elif get_origin(option) in (list, tuple):
            return get_args(option)[0]
    return None


def _options(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from _options(each)
    elif get_origin(annotation) is Annotated:
        yield from _options(get_args(annotation)[0])
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
