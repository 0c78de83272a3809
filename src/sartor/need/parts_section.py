"""The section `parts` of a need file, read with its lines; `need.parts` says what it means."""

from typing import Any

from sartor.core.errors import Fault
from sartor.core.near import near_miss
from sartor.need.document import Tree, is_mapping, line_of, short
from sartor.need.parts import Case, Part

_OF_THE_FILE = frozenset({"line"})


def read_parts(section: Tree) -> tuple[dict[str, Any], list[Fault]]:
    """What a need file holds under `parts`, each with its line, without the keys that do not exist.

    Args:
        section: Mapping of name to part, as the YAML reader gave it.
    """
    found: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, given in section.items():
        if not is_mapping(given):
            fix = f"write `{name}:` and indent its keys below it."
            line = line_of(section, (name,))
            faults.append(Fault(line, f"parts.{name} is {short(given)}, not a mapping", fix))
            continue
        part = _known(given, Part, faults)
        cases: Any = given.get("then")
        if "then" in given:
            listed = [cases] if is_mapping(cases) else cases
            part["then"] = tuple(_case(one, given, place, faults) for place, one in _each(listed))
        found[str(name)] = {**part, "line": line_of(section, (name,))}
    return found, faults


def _each(listed: Any) -> list[tuple[int, Any]]:
    return list(enumerate(listed)) if isinstance(listed, list) else [(0, listed)]  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]


def _case(given: Any, part: Tree, place: int, faults: list[Fault]) -> Any:
    line = line_of(part, ("then", place)) or line_of(part, ("then",))
    if not is_mapping(given):
        what = f"a case under then is {short(given)}, not a mapping"
        faults.append(Fault(line, what, "write e.g. - {when: refund, go: answers}."))
        return {"line": line, "hand_off": "-"}
    return {**_known(given, Case, faults), "line": line_of(part["then"], (place,)) or line}


def _known(section: Tree, kind: type[Part] | type[Case], faults: list[Fault]) -> dict[str, Any]:
    """The keys of a section that exist."""
    keys = [key for key in kind.model_fields if key not in _OF_THE_FILE]
    for key in section:
        if key not in keys:
            line = line_of(section, (key,))
            faults.append(Fault(line, f"unknown key {key!r}", near_miss(str(key), keys)))
    return {key: value for key, value in section.items() if key in keys}
