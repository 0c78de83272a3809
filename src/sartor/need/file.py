"""Reading need.yaml: every fault at once, each with its line and its fix.

The file is untrusted: its size is capped, aliases and tags are refused before anything is built
(an alias bomb never expands), and YAML 1.2 rules hold, so `no` is a label and not False. Labels
are taken as written: `true`, `007` and `1.0` too.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from sartor.core.errors import Fault, NeedError, SartorError
from sartor.core.near import near_miss
from sartor.core.types import Roles
from sartor.need.costs import Costs, read_targets
from sartor.need.criterion import Criterion
from sartor.need.document import (
    Tree,
    child,
    is_mapping,
    line_of,
    node_line,
    read_document,
    repeated_keys,
    short,
)
from sartor.need.grammar import CriterionSyntaxError, fault_of, parse_criterion
from sartor.need.graph import graph_faults
from sartor.need.model import (
    LOCAL,
    NO_KEYS,
    REMOTE,
    Budget,
    Data,
    Judge,
    Llm,
    LocalLlm,
    Need,
    Preferences,
)
from sartor.need.parts_section import read_parts

MAX_BYTES = 200_000
"""The YAML reader takes a second for 50 kB; a need is one page."""
RolesOf = Callable[[str], Roles]
"""Task name to its roles; raises `UnknownName` for an unknown task."""


def load_need(path: Path | str, roles_of: RolesOf) -> Need:
    """Read a need file.

    Raises:
        NeedError: With all faults of the file.
    """
    place = Path(path)
    name = str(path)
    if not place.is_file():
        what = "is a folder" if place.is_dir() else "does not exist"
        raise NeedError(
            name,
            [Fault(0, f"the file {what}", "create one with `sartor init DATA.csv`.")],
        )
    if place.stat().st_size > MAX_BYTES:
        size = place.stat().st_size
        raise NeedError(
            name,
            [Fault(0, f"{size:,} bytes are more than {MAX_BYTES:,}", "keep data in data files.")],
        )
    try:
        text = place.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fault = Fault(0, f"byte {error.start} is not UTF-8", "save the file as UTF-8.")
        raise NeedError(name, [fault]) from None
    return parse_need(text, name, roles_of)


def parse_need(text: str, name: str, roles_of: RolesOf) -> Need:
    """Text to `Need`; `name` is the file's name in messages.

    Raises:
        NeedError: With all faults of the text.
    """
    tree, root = read_document(text, name)
    return _Reader(name, roles_of, root).need(tree)


class _Reader:
    """Collects faults while it reads; raises once, at the end."""

    def __init__(self, file: str, roles_of: RolesOf, root: Tree) -> None:
        self.file, self.roles_of, self.root = file, roles_of, root
        self.faults: list[Fault] = []

    def need(self, tree: Tree) -> Need:
        self.faults += repeated_keys(self.root)
        roles = self._roles(tree)
        self._known(tree, [k for k in Need.model_fields if self._takes(k, roles)])
        for key in ("name", "task", "data", "accept"):
            if key not in tree:
                self.faults.append(Fault(0, f"{key!r} is missing", _MISSING[key]))
        confidence: Any = tree.get("confidence", 0.95)
        parsed: dict[str, Any] = {k: v for k, v in tree.items() if k in Need.model_fields}
        parsed["accept"] = self._accept(tree, confidence if _is_share(confidence) else 0.95)
        parsed["data"] = self._data(tree, roles)
        parsed |= self._parts(tree, roles)
        sections = (("budget", Budget), ("prefer", Preferences), ("costs", Costs), ("judge", Judge))
        for key, model in sections:
            if key in tree:
                section = self._mapping(tree, key)
                self._known(section, list(model.model_fields))
                parsed[key] = {k: v for k, v in section.items() if k in model.model_fields}
        parsed.get("prefer", {}).update(self._llm(tree))
        parsed.get("costs", {}).update(self._targets(tree))
        need = self._validated(parsed, tree)
        if need is not None and need.parts is not None and not self.faults:
            self.faults += graph_faults(need.parts)
        if self.faults or need is None:
            self.faults.sort(key=lambda f: f.line)
            raise NeedError(self.file, self.faults)
        return need

    def _accept(self, tree: Tree, confidence: float) -> list[Criterion]:
        entries: Any = tree.get("accept")
        if "accept" in tree and not isinstance(entries, list):
            fix = "write a list: one `- metric >= number` a line."
            self.faults.append(Fault(line_of(tree, ("accept",)), "accept is not a list", fix))
            return []
        found: list[Criterion] = []
        rows = cast(list[Any], entries or [])
        for i, entry in enumerate(rows):
            line = line_of(entries, (i,))
            if not isinstance(entry, str):
                fix = "put quotes around it, e.g. - 'accuracy[where: lang == \"zh\"] >= 0.8'."
                self.faults.append(Fault(line, f"{short(entry)} is not a criterion", fix))
                continue
            try:
                found.append(parse_criterion(str(entry), confidence=confidence, line=line))
            except CriterionSyntaxError as error:
                self.faults.append(fault_of(error, line))
        if "accept" in tree and not entries:
            fix = "add at least one, e.g. - accuracy >= 0.80."
            self.faults.append(Fault(line_of(tree, ("accept",)), "accept holds no criterion", fix))
        return found

    def _parts(self, tree: Tree, roles: Roles | None) -> dict[str, Any]:
        """`parts`, with the line of each; nothing where it is no mapping."""
        if roles is None or not roles.parts:
            return {}
        if "parts" not in tree:
            fix = "add `parts:` with a bundle or a need for each, e.g. intent: {need: intent.yaml}."
            self.faults.append(Fault(line_of(tree, ("task",)), "parts is missing", fix))
        found, faults = read_parts(self._mapping(tree, "parts"))
        self.faults += faults
        return {"parts": found}

    @staticmethod
    def _takes(key: str, roles: Roles | None) -> bool:
        """Whether a need of that task may have the key; any where the task is not known."""
        return roles is None or roles.parts or key not in _OF_PRODUCTS

    def _data(self, tree: Tree, found: Roles | None) -> dict[str, Any]:
        section = self._mapping(tree, "data")
        roles = found.names() if found else []
        keys = [k for k in Data.model_fields if k not in NO_KEYS]
        if found:  # without a known task nobody can say which keys are its columns
            known = keys if found.columns else [k for k in keys if k != "columns"]
            self._known(section, [*known, *roles])
        if "data" in tree:
            for key in ("train", *(found.required() if found else ())):
                if key not in section:
                    fix = f"add `{key}: {_FORMS.get(key, '…')}` under data:."
                    self.faults.append(
                        Fault(line_of(tree, ("data",)), f"data.{key} is missing", fix)
                    )
        for role in roles:
            if role in section and not isinstance(section[role], str):
                fix = "write the name of one column."
                what = f"data.{role} is {short(section[role])}"
                self.faults.append(Fault(line_of(section, (role,)), what, fix))
        plain: dict[str, Any] = {k: v for k, v in section.items() if k in keys}
        if isinstance(plain.get("labels"), list):
            plain["labels"] = self._labels(plain["labels"])
        plain["roles"] = {r: str(section[r]) for r in roles if r in section}
        return plain

    def _llm(self, tree: Tree) -> dict[str, Any]:
        """`prefer.llm` without the keys that it does not have; nothing where it is no mapping."""
        section: Any = tree["prefer"].get("llm") if is_mapping(tree.get("prefer")) else None
        if not is_mapping(section):
            return {}
        local = "local" in section
        keys = list((LocalLlm if local else Llm).model_fields)
        self._known(section, keys)
        for key in () if local else ("url", "model"):
            if key not in section:
                fix = f"add `{key}: …` under llm:."
                what = f"prefer.llm.{key} is missing"
                self.faults.append(Fault(line_of(tree, ("prefer", "llm")), what, fix))
        return {"llm": {k: v for k, v in section.items() if k in keys}}

    def _targets(self, tree: Tree) -> dict[str, Any]:
        """`costs.targets`, completed from the shipped prices; nothing where it is no mapping."""
        section: Any = tree["costs"].get("targets") if is_mapping(tree.get("costs")) else None
        if not is_mapping(section):
            return {}
        found, faults = read_targets(section, "costs.targets.")
        self.faults += faults
        return {"targets": found}

    def _labels(self, read: list[Any]) -> list[Any]:
        """As written: a label `true` or `007` must meet the same text in the data."""
        nodes = child(child(self.root, "data"), "labels")
        written: list[Any] = [getattr(n, "value", None) for n in getattr(nodes, "value", [])]
        kept = [w if isinstance(w, str) else r for w, r in zip(written, read, strict=True)]
        seen: set[str] = {""}
        for i, label in enumerate(kept):
            if isinstance(label, str) and label in seen:
                what = f"label {label!r} is listed twice" if label else "a label is empty"
                self.faults.append(Fault(node_line(nodes.value[i]), what, "remove it."))
            elif isinstance(label, str):
                seen.add(label)
        return kept

    def _roles(self, tree: Tree) -> Roles | None:
        if not isinstance(tree.get("task"), str):
            return None
        try:
            return self.roles_of(str(tree["task"]))
        except SartorError as error:
            self.faults.append(Fault(line_of(tree, ("task",)), error.what, error.fix))
            return None

    def _mapping(self, tree: Tree, key: str) -> Tree:
        section = tree.get(key)
        if is_mapping(section):
            return section
        if key in tree:
            fix = f"write `{key}:` and indent its keys below it."
            self.faults.append(Fault(line_of(tree, (key,)), f"{key} is not a mapping", fix))
        return {}

    def _known(self, section: Tree, keys: list[str]) -> None:
        for key in section:
            if key not in keys:
                fix = near_miss(str(key), keys)
                self.faults.append(Fault(line_of(section, (key,)), f"unknown key {key!r}", fix))

    def _validated(self, parsed: Mapping[str, Any], tree: Tree) -> Need | None:
        try:
            return Need.model_validate(parsed)
        except ValidationError as error:
            for problem in error.errors():
                too_few = problem["type"] == "too_short" and problem["loc"] == ("accept",)
                if problem["type"] == "missing" or too_few:
                    continue  # said above, with a better fix
                place = tuple(part for part in problem["loc"] if part not in (LOCAL, REMOTE))
                where = ".".join(map(str, place))
                expected = problem["msg"].removeprefix("Value error, ")
                expected = expected[:1].lower() + expected[1:]
                # Whoever pastes a key in place of its variable's name must not read it in a log.
                shown = "not shown" if where in _SECRET else short(problem["input"])
                what = f"{where} is {shown}: {expected}"
                line = line_of(tree, place)
                self.faults.append(Fault(line, what, _FIXES.get(where, "correct the value.")))
            return None


_FIXES = {
    "name": "start with a letter or digit and use letters, digits, spaces, dots, hyphens and _.",
    "accept": "split the need into several files.",
    "confidence": "write a share, e.g. 0.95.",
    "budget.minutes": "write a number of minutes above 0, e.g. 10.",
    "costs.price_per_1000": "write what 1,000 requests earn, above 0, e.g. 0.50.",
    "costs.requests": "write whole numbers of requests a month, e.g. [100000, 1000000].",
    "costs.targets": "write a mapping, e.g. targets: {vm: {rent_per_month: 20}}.",
    "data.columns": "write a list of columns, e.g. [age, amount, purpose], or what each holds, e.g."
    " {age: number, purpose: category, since: date}.",
    "data.labels": "write a list of labels, e.g. [refund, invoice, other].",
    "hand_off_below": "write auto, or a confidence from 0 to 1, e.g. 0.7.",
    "language": "write en or zh.",
    "prefer.long_texts": "write cut or windows.",
    "prefer.max_length": "write a whole number of tokens from 16 to 32768, e.g. 128.",
    "prefer.llm": "write llm: {url: http://localhost:11434/v1, model: qwen3}, or llm: smollm2 for"
    " one that runs here.",
    "prefer.llm.key": "write the name of an environment variable in capitals, e.g. OPENAI_API_KEY,"
    " and keep the key itself in that variable.",
    "prefer.llm.url": "write the URL up to /v1, e.g. http://localhost:11434/v1.",
}
_OF_PRODUCTS = ("parts", "hand_off_below")
_FORMS = {"columns": "[…]"}
_SECRET = frozenset({"prefer.llm.key", "prefer.llm.url"})
_MISSING = {
    "name": "add `name: …`, a short name for the bundle.",
    "task": "add `task: text_classification`.",
    "data": "add `data:` with train and the columns of the task.",
    "accept": "add `accept:` with at least one criterion, e.g. - accuracy >= 0.80.",
}


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and 0.5 <= value < 1
