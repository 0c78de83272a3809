"""An encoder-decoder that can do more than one thing, told which: a folder like any other.

One model of many languages is told what to do in three ways, which its own files say:

    mBART, M2M-100, NLLB   a token of its language stands at the text, one at what is written
    Marian's of several    >>zho_Hans<< before the text says what to write in
    T5                     words before the text, from task_specific_params of its configuration

What is told becomes part of the folder: of the tokenizer what stands around a text, of the
configuration what the decoder begins with. So whoever reads, tunes or exports such a folder need
not know of languages. Its weights are those of the model that it was made of.

Liu et al. 2020, https://arxiv.org/abs/2001.08210; Fan et al. 2020, https://arxiv.org/abs/2010.11125;
Raffel et al. 2020, https://arxiv.org/abs/1910.10683
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sartor.core.errors import SettingError
from sartor.core.near import near_miss
from sartor.core.types import TARGET_TOKENIZER, Backbone
from sartor.models.folder import read_config, read_generation
from sartor.models.linked import link_model
from sartor.models.loading import load_tokenizer
from sartor.models.surround import SAMPLES, around

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CODE = r"[a-z]{2,3}(?:_[A-Za-z]{2,8})?"
_AROUND = re.compile(rf"__({_CODE})__|([a-z]{{2,3}}_[A-Z][A-Za-z]{{1,3}})")
_BEFORE = re.compile(r">>([^<>\s]{2,20})<<")
_BY_TOKEN, _BY_PREFIX = ("mbart", "m2m_100"), ("t5", "mt5")
_PARAMS = "task_specific_params"
_PAIR = re.compile(r"translation_(\w+)_to_(\w+)")
_START, _FORCED = "decoder_start_token_id", "forced_bos_token_id"


@dataclass(frozen=True, slots=True)
class Directed:
    """What a model is told.

    Args:
        before: Token ids before a text.
        after: Token ids behind it.
        opening: What `generation_config.json` says of how the decoder begins, where it is told.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    opening: Mapping[str, int | None]


def directed(backbone: Backbone, task: str, languages: Mapping[str, str]) -> Directed | None:
    """What a model is to be told for a task; None where there is nothing.

    Args:
        backbone: An encoder-decoder.
        task: Of the need.
        languages: `from` and `to`, as the user writes them; empty where the need has none.

    Raises:
        ModelError: If its folder is damaged.
        SettingError: If it must be told languages and is not, or does not know one of them.
    """
    folder = Path(backbone.path)
    config, whole = read_config(folder), load_tokenizer(folder)
    if config["model_type"] in _BY_PREFIX:
        return _by_words(backbone.name, config, whole, task, languages)
    if config["model_type"] in _BY_TOKEN:
        specials = [t.content for t in whole.get_added_tokens_decoder().values() if t.special]
        known = _named(_AROUND, specials)
        told = config | read_generation(folder)
        return _by_tokens(backbone.name, told, whole, known, languages) if known else None
    known = _named(_BEFORE, list(whole.get_vocab()))
    return _by_first(backbone.name, whole, known, languages) if known else None


def write_directed(backbone: Backbone, told: Directed, to: Path) -> None:
    """Write the folder of a model that is told something.

    Args:
        backbone: What it is made of; its weights are linked, not copied.
        told: From `directed`.
        to: An empty folder.
    """
    folder = Path(backbone.path)
    link_model(folder, to)
    if (writes := folder / TARGET_TOKENIZER).is_file():
        shutil.copyfile(writes, to / TARGET_TOKENIZER)
    tokenizer = json.loads(load_tokenizer(folder).to_str())
    tokenizer["post_processor"] = _template(told)
    _write(to / "tokenizer.json", tokenizer)
    config = json.loads((folder / "config.json").read_bytes())
    if told.opening:
        # The other file has the say, and what it leaves out must not be found here.
        config = {key: value for key, value in config.items() if key not in (_START, _FORCED)}
    _write(to / "config.json", config)
    generation = read_generation(folder) | dict(told.opening)
    _write(to / "generation_config.json", {k: v for k, v in generation.items() if v is not None})


def _by_words(
    name: str,
    config: Mapping[str, Any],
    whole: "Tokenizer",
    task: str,
    languages: Mapping[str, str],
) -> Directed | None:
    """A T5's words before a text, where its configuration has some for the task."""
    known = _prefixes(config)
    pairs = [found.groups() for key in known if (found := _PAIR.fullmatch(key))]
    key = task
    if task == "translation":
        if not languages or not pairs:
            return None
        one, other = languages["from"], languages["to"]
        key = f"translation_{one}_to_{other}"
        if key not in known:
            listed = ", ".join(f"{a} to {b}" for a, b in pairs)
            raise SettingError(
                f"{name} knows no words that ask for {other} of {one}.",
                fix=f"its configuration has {listed}; leave data.languages out to tune it without.",
            )
    if key not in known:
        return None
    before, after = around(name, whole, whole)
    return Directed((*before, *_ahead(name, whole, known[key])), after, {})


def _prefixes(config: Mapping[str, Any]) -> dict[str, str]:
    """Task to words before a text; what a stranger's file has in another form is left out."""
    params: object = config.get(_PARAMS)
    if not isinstance(params, dict):
        return {}
    told = cast("dict[str, object]", params)
    found: dict[str, str] = {}
    for key, each in told.items():
        words = cast("dict[str, object]", each).get("prefix") if isinstance(each, dict) else None
        if isinstance(words, str) and words.strip():
            found[key] = words
    return found


def _ahead(name: str, whole: "Tokenizer", prefix: str) -> list[int]:
    """Token ids of words that stand before every text."""

    def ids(text: str) -> list[int]:
        return whole.encode(text, add_special_tokens=False).ids

    for words in (prefix, prefix.rstrip()):
        if all(ids(prefix + text) == ids(words) + ids(text) for text in SAMPLES):
            return ids(words)
    raise SettingError(
        f"the tokenizer of {name} reads {prefix!r} and the text behind it as one.",
        fix="choose another model.",
    )


def _by_tokens(
    name: str,
    config: Mapping[str, Any],
    whole: "Tokenizer",
    known: Mapping[str, str],
    languages: Mapping[str, str],
) -> Directed | None:
    """A token of one language at the text, one of the other before what is written."""
    place = {token: _id(whole, token) for token in known.values()}
    start, forced = config.get(_START), config.get(_FORCED)
    if not languages:
        if forced in place.values() or start in place.values():
            return None  # the folder is of one pair
        raise SettingError(_untold(name, known), fix=_how(known))
    source, target = (place[_token(name, known, languages[side])] for side in ("from", "to"))
    before, after = (
        [source if token in place.values() else token for token in side]
        for side in around(name, whole, whole)
    )
    # The first mBART begins what it writes with the language itself, and names it behind a text.
    first = start is None or start in place.values()
    if source not in (*before, *after):
        before, after = (before, [*after, source]) if first else ([source, *before], after)
    opening = {_START: target, _FORCED: None} if first else {_START: start, _FORCED: target}
    return Directed(tuple(before), tuple(after), opening)


def _by_first(
    name: str, whole: "Tokenizer", known: Mapping[str, str], languages: Mapping[str, str]
) -> Directed:
    """A token before the text that says what to write in."""
    if not languages:
        raise SettingError(_untold(name, known), fix=_how(known))
    before, after = around(name, whole, whole)
    target = _id(whole, _token(name, known, languages["to"]))
    return Directed((target, *before), after, {})


def _named(form: re.Pattern[str], tokens: Sequence[str]) -> dict[str, str]:
    """Languages as a user writes them, to their tokens."""
    found = ((form.fullmatch(token), token) for token in sorted(tokens))
    return {next(filter(None, match.groups())): token for match, token in found if match}


def _token(name: str, known: Mapping[str, str], asked: str) -> str:
    """The token of a language: of its whole code, or of its first part where one code has it."""
    folded = {code.casefold(): code for code in known}
    if (code := folded.get(asked.casefold().replace("-", "_"))) is not None:
        return known[code]
    alike = [code for code in known if code.partition("_")[0].casefold() == asked.casefold()]
    if len(alike) == 1:
        return known[alike[0]]
    if alike:
        what, fix = f"{name} writes {asked!r} in several ways.", f"write {' or '.join(alike)}."
        raise SettingError(what, fix=f"{fix[:-1]} under data.languages.")
    begins = [code for code in known if code.startswith(asked[:2].casefold())]
    near = f"write {' or '.join(begins)}." if begins else near_miss(asked, known)
    raise SettingError(f"{name} has no language {asked!r}, under data.languages.", fix=near)


def _untold(name: str, known: Mapping[str, str]) -> str:
    return f"{name} knows {len(known)} languages, and the need does not say which two are meant."


def _how(known: Mapping[str, str]) -> str:
    some = ", ".join(list(known)[:6])
    return f"write under data: languages: {{from: …, to: …}}, with codes such as {some}."


def _id(whole: "Tokenizer", token: str) -> int:
    found = whole.token_to_id(token)
    assert found is not None, "the token is one of the tokenizer's"
    return found


def _template(told: Directed) -> dict[str, Any]:
    """What puts token ids around a text, in tokenizers' form."""
    sides = {"before": told.before, "behind": told.after}
    special = {
        side: {"id": side, "ids": list(ids), "tokens": [f"{side} {at}" for at in range(len(ids))]}
        for side, ids in sides.items()
        if ids
    }

    def piece(side: str) -> list[dict[str, Any]]:
        return [{"SpecialToken": {"id": side, "type_id": 0}}] if side in special else []

    single = [*piece("before"), {"Sequence": {"id": "A", "type_id": 0}}, *piece("behind")]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 0}}]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": pair,
        "special_tokens": special,
    }


def _write(path: Path, values: Mapping[str, Any]) -> None:
    text = json.dumps(values, ensure_ascii=False, sort_keys=True)
    path.write_text(text, encoding="utf-8")
