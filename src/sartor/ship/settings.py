"""What a target can be told: its settings with what they do, read from `key=value` words."""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, cast

from sartor.core.errors import SettingError
from sartor.core.near import near_miss
from sartor.core.settings import read_as
from sartor.ship.api import TARGETS, Target


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a target.

    Args:
        default: As Python writes it.
        what: The string below the field, on one line.
    """

    name: str
    default: str
    what: str


def read_target(name: str, values: Mapping[str, str]) -> Target:
    """A target with its settings.

    Args:
        name: In the registry.
        values: Setting to value, as it was typed.

    Raises:
        UnknownName: If there is no such target.
        SettingError: If it has no such setting, or a value is out of range.
    """
    owner = _owner(name)
    known = [field.name for field in fields(owner)]
    for key in values:
        if key not in known:
            raise SettingError(
                f"target {name!r} has no setting {key!r}.", fix=near_miss(key, sorted(known))
            )
    return cast("Target", read_as(owner, values))


def settings_of(name: str) -> list[Setting]:
    """The settings of a target, in their order.

    Raises:
        UnknownName: If there is no such target.
    """
    owner = _owner(name)
    body = cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]).body
    said = {
        statement.target.id: " ".join(after.value.value.split())
        for statement, after in pairwise(body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }
    return [Setting(f.name, repr(f.default), said.get(f.name, "")) for f in fields(owner)]


def _owner(name: str) -> type[Any]:
    return cast("type[Any]", TARGETS.get(name))
