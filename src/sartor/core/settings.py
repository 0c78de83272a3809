"""A plug-in's settings: the fields of its dataclass, from values that a person wrote."""

from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sartor.core.errors import SettingError

T = TypeVar("T")


def read_as(owner: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from its fields' values.

    Raises:
        SettingError: If a value is out of range.
    """
    try:
        return _form(owner).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingError(
            f"setting {place}={first['input']!r} cannot be: {first['msg']}.",
            fix=f"change {place}; its default is {_default(owner, str(first['loc'][0]))!r}.",
        ) from error


@lru_cache(maxsize=256)
def _form(owner: type[T]) -> TypeAdapter[T]:
    """How values are read; making it takes milliseconds, and a search reads settings thousands of
    times."""
    return TypeAdapter(owner)


def _default(owner: Any, name: str) -> Any:
    return next(field.default for field in fields(owner) if field.name == name)
