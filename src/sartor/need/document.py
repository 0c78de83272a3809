"""Untrusted YAML to values with their lines.

Refused before anything is built: aliases (so that an alias bomb never expands), tags, YAML 1.1 and
deep nesting. Keys that occur twice are found, since YAML readers disagree on which one counts.
"""

from io import StringIO
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import MappingNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from sartor.core.errors import Fault, NeedError

_MAX_DEPTH = 12
Tree = Any
"""A ruamel mapping (values, and under `.lc` their lines) or node. The library carries no types."""


def read_document(text: str, name: str) -> tuple[Tree, Tree]:
    """The mapping in `text`, and the node it was written as; `name` is the file's in messages.

    Raises:
        NeedError: If it is not YAML, not a mapping, or uses what is refused.
    """
    try:
        refused = _refused(text)
        tree, root = (None, None) if refused else _built(text)
    except ReaderError as error:
        refused, tree, root = _unreadable(text, error), None, None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        what = str(getattr(error, "problem", None) or "cannot be read").strip()
        fix = "indent with spaces, quote values that hold a colon or start with a sign."
        refused, tree, root = Fault(line, f"not YAML: {what}", fix), None, None
    if refused:
        raise NeedError(name, [refused])
    if not is_mapping(tree):
        what = "the file is empty" if tree is None else "the top level is not a mapping"
        fix = "start with `sartor init DATA.csv`, which writes a need file."
        raise NeedError(name, [Fault(1, what, fix)])
    return tree, root


def repeated_keys(node: Tree) -> list[Fault]:
    """One fault for every key that its mapping already has."""
    faults: list[Fault] = []
    seen: dict[str, int] = {}
    for key, value in _pairs(node):
        if _is(key.value, str):
            line = node_line(key)
            if key.value in seen:
                what = f"key {key.value!r} is already on line {seen[key.value]}"
                faults.append(Fault(line, what, "keep one of them."))
            seen.setdefault(key.value, line)
        faults += repeated_keys(value)
    if _is(node, SequenceNode):
        faults += [fault for item in node.value for fault in repeated_keys(item)]
    return faults


def child(node: Tree, key: str) -> Tree:
    """The first value under `key` in a mapping node, or None."""
    return next((value for name, value in _pairs(node) if name.value == key), None)


def node_line(node: Tree) -> int:
    return int(node.start_mark.line) + 1


def line_of(tree: Tree, path: tuple[int | str, ...]) -> int:
    """Line of the deepest part of `path` that the file holds; 0 when it holds none."""
    line, here = 0, tree
    for part in path:
        try:
            line = int(here.lc.data[part][0]) + 1
            here = here[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line


def is_mapping(value: object) -> bool:
    return _is(value, CommentedMap)


def short(value: object) -> str:
    """The value as a message shows it: at most 60 characters."""
    shown = str(dict(cast(Tree, value))) if is_mapping(value) else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"


def _refused(text: str) -> Fault | None:
    depth = 0
    event: Any
    reader: Any = YAML(typ="rt")
    for event in reader.parse(StringIO(text)):
        line = event.start_mark.line + 1
        if _is(event, AliasEvent):
            return Fault(line, f"alias *{event.anchor} is not allowed", "write it out.")
        if _is(event, DocumentStartEvent) and event.version not in (None, (1, 2)):
            return Fault(line, "only YAML 1.2 is read", "remove the %YAML line.")
        if tag := getattr(event, "tag", None):
            return Fault(line, f"tag {tag} is not allowed", "remove the tag.")
        depth += _is(event, MappingStartEvent, SequenceStartEvent)
        depth -= _is(event, MappingEndEvent, SequenceEndEvent)
        if depth > _MAX_DEPTH:
            return Fault(line, f"more than {_MAX_DEPTH} levels deep", "flatten it.")
    return None


def _built(text: str) -> tuple[Tree, Tree]:
    reader: Any = YAML(typ="rt")
    reader.allow_duplicate_keys = True  # the reader would stop at the first; see repeated_keys
    composer: Any = YAML(typ="rt")
    return reader.load(StringIO(text)), composer.compose(StringIO(text))


def _unreadable(text: str, error: Any) -> Fault:
    line = text.count("\n", 0, error.position) + 1
    what = f"the character U+{error.character:04X} is not allowed"
    return Fault(line, what, "remove it, or write it as an escape inside double quotes.")


def _pairs(node: Tree) -> list[Any]:
    return node.value if _is(node, MappingNode) else []


def _is(value: object, *kinds: type) -> bool:
    """`isinstance` that leaves the value's static type open: ruamel's classes carry none."""
    return isinstance(value, kinds)
