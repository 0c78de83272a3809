"""A model that reads with one SentencePiece file and writes with another, as Marian's do.

    source.spm   cuts what is read into pieces
    target.spm   cuts what is written
    vocab.json   numbers the pieces of both

A folder is made of it whose tokenizer.json reads, and whose target_tokenizer.json writes. Each
numbers every piece, and finds in a text those of its own file, and the other's where its own knows
none of their characters. In two places they find more than Marian does, which reads one unknown
piece there: characters in a row that together are no piece are read apart, and a piece of the file
that vocab.json does not number is cut into those that it does.

Kudo and Richardson 2018, https://arxiv.org/abs/1808.06226; Tiedemann and Thottingal 2020,
https://aclanthology.org/2020.eamt-1.61
"""

import json
import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sartor.core.characters import table_fault
from sartor.core.errors import MissingExtra, ModelError
from sartor.core.types import TARGET_TOKENIZER, Backbone
from sartor.models.folder import (
    NUMBERS,
    SOURCE,
    TARGET,
    TOKENIZER_BYTES,
    read_capped,
    read_config,
)
from sartor.models.linked import link_model
from sartor.models.unreachable import guarded, unmarked, unreachable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_UNIGRAM, _NORMAL, _USERS = 1, 1, 4
_UNKNOWN, _END, _FILL = "<unk>", "</s>", "<pad>"
_LANGUAGE = re.compile(r">>[^<>\s]+<<")
_MOST = 1_000_000
_BEHIND = 10.0
"""How much less likely than the least likely piece an unknown one is, to SentencePiece."""
_FIX = "get the file from the model's source again, or name another model."


def write_two(backbone: Backbone, to: Path) -> None:
    """Write the folder of two tokenizers.

    Args:
        backbone: Its folder has the three files; its weights are linked, not copied.
        to: An empty folder.

    Raises:
        ModelError: If a file is damaged, or of a kind that is not known.
        MissingExtra: If protobuf, which reads .spm files, is not installed.
    """
    folder = Path(backbone.path)
    numbers = _numbers(folder)
    reads, writes = (_tokenizer(folder / name, numbers) for name in (SOURCE, TARGET))
    _close(reads)
    link_model(folder, to)
    (to / "config.json").write_bytes((folder / "config.json").read_bytes())
    generation = folder / "generation_config.json"
    if generation.is_file():
        (to / generation.name).write_bytes(generation.read_bytes())
    reads.save(str(to / "tokenizer.json"))
    writes.save(str(to / TARGET_TOKENIZER))


def _numbers(folder: Path) -> dict[str, int]:
    """Piece to number, in the order of the numbers."""
    file = folder / NUMBERS
    if read_config(folder).get("share_encoder_decoder_embeddings") is False:
        raise ModelError(
            f"{folder} numbers what it reads otherwise than what it writes: that is not supported.",
            fix="name a model with one vocab.json for both.",
        )
    try:
        found: object = json.loads(read_capped(file, TOKENIZER_BYTES))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file} is not JSON: {error}.", fix=_FIX) from error
    numbers = cast("dict[str, object]", found) if isinstance(found, dict) else {}
    ids = sorted(n for n in numbers.values() if type(n) is int)
    if not 0 < len(numbers) <= _MOST or ids != [*range(len(numbers))]:
        raise ModelError(
            f"{file} does not number its pieces from 0 on, each once.",
            fix=_FIX,
        )
    for token in (_UNKNOWN, _END, _FILL):
        if token not in numbers:
            raise ModelError(f"{file} has no {token}.", fix=_FIX)
    whole = cast("dict[str, int]", numbers)
    return dict(sorted(whole.items(), key=lambda item: item[1]))


def _tokenizer(file: Path, numbers: Mapping[str, int]) -> "Tokenizer":
    """What cuts texts as a .spm file says, and numbers the pieces as vocab.json does."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    proto = _read(file)
    scores = {p.piece: p.score for p in proto.pieces if p.type == _NORMAL}
    if not all(map(isfinite, scores.values())):
        raise ModelError(f"{file} has a piece whose score is no number.", fix=_FIX)
    if numbers.keys().isdisjoint(scores):
        raise ModelError(f"{NUMBERS} numbers none of the pieces of {file}.", fix=_FIX)
    words = _words(numbers, scores)
    spec, how = proto.normalizer_spec, proto.trainer_spec
    unigram = models.Unigram(words, numbers[_UNKNOWN], how.byte_fallback)
    found = Tokenizer(unigram)
    steps: list[Any] = []
    if spec.precompiled_charsmap and (fault := table_fault(spec.precompiled_charsmap)):
        raise ModelError(f"{file} has a damaged table of characters: {fault}.", fix=_FIX)
    try:
        if spec.precompiled_charsmap:
            steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    # tokenizers raises a bare Exception, whatever is wrong with the table.
    except Exception as error:
        raise ModelError(f"{file} has a damaged table of characters: {error}.", fix=_FIX) from error
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    found.normalizer = normalizers.Sequence(steps)
    begun = "always" if spec.add_dummy_prefix else "never"
    # Pieces may reach over spaces where the file was made so; then a text is one word.
    cut = {"prepend_scheme": begun, "split": how.split_by_whitespace}
    found.pre_tokenizer = pre_tokenizers.Metaspace(**cut)
    found.decoder = decoders.Sequence([unmarked(), decoders.Metaspace(prepend_scheme=begun)])
    control = [_END, _UNKNOWN, _FILL]
    found.add_special_tokens([*control, *(name for name in numbers if _LANGUAGE.fullmatch(name))])
    return guarded(found)


def _words(numbers: Mapping[str, int], scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """Every piece in the order of the numbers, with its ln p as tokenizers has it.

    Args:
        numbers: Of all pieces.
        scores: ln p of those that the file has.
    """
    known = {piece for piece in scores if len(piece) == 1}
    unlikely = min(scores.values()) - _BEHIND
    found: list[tuple[str, float]] = []
    for name in numbers:
        if name in scores:
            found.append((name, scores[name]))
        elif name in (_UNKNOWN, _END, _FILL) or _LANGUAGE.fullmatch(name):
            found.append((name, 0.0))  # found by name; taken out of what reads texts
        elif known.isdisjoint(name):
            found.append((name, unlikely))
        else:
            found.append((unreachable(name), 0.0))
    return found


def _close(reads: "Tokenizer") -> None:
    """What is read ends with the token that says so."""
    from tokenizers import processors

    end = reads.token_to_id(_END)
    reads.post_processor = processors.TemplateProcessing(
        single=f"$A {_END}", pair=f"$A $B {_END}", special_tokens=[(_END, end)]
    )


def _read(file: Path) -> Any:
    """The contents of a .spm file."""
    try:
        from google.protobuf.message import DecodeError
        from transformers.convert_slow_tokenizer import import_protobuf

        module: Any = import_protobuf()
    except ImportError as error:
        raise MissingExtra(
            f"{file} is read by protobuf ({error}).", fix="pip install 'sartor[train]'."
        ) from error
    proto = module.ModelProto()
    try:
        proto.ParseFromString(read_capped(file, TOKENIZER_BYTES))
    except DecodeError as error:
        raise ModelError(f"{file} is not a SentencePiece model: {error}.", fix=_FIX) from error
    kind = proto.trainer_spec.model_type
    users = [p.piece for p in proto.pieces if p.type == _USERS]
    if kind != _UNIGRAM or users or proto.trainer_spec.treat_whitespace_as_suffix:
        why = "of another kind than unigram" if kind != _UNIGRAM else "with pieces that users set"
        raise ModelError(
            f"{file} is a SentencePiece model {why}, which is not supported.",
            fix="name another model; those of opus-mt are of the right kind.",
        )
    if not proto.pieces or len(proto.pieces) > _MOST:
        raise ModelError(f"{file} has {len(proto.pieces):,} pieces.", fix=_FIX)
    return proto
