"""A backbone's folder: what is in it, and what is refused before anything reads it.

Three files count: config.json, tokenizer.json and the weights as safetensors. Pickle weights run
code when loaded, so a folder that has only those is refused; so is a configuration that names code
(`auto_map`), a kernel to fetch, or a quantiser. All three come from strangers: sizes are checked
before parsing.
"""

import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

from sartor.core.errors import ModelError
from sartor.core.hashing import digest
from sartor.core.types import TARGET_TOKENIZER, Backbone
from sartor.models.store import weights_sha256

CONFIG_BYTES = 1 << 20
TOKENIZER_BYTES = 128 << 20
SOURCE, TARGET, NUMBERS = "source.spm", "target.spm", "vocab.json"
"""In the place of tokenizer.json; see `models.two_vocabularies`."""
_CARD_BYTES = 4 << 20
_HEADER_BYTES = 64 << 20
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
_FLOATS = ("F64", "F32", "F16", "BF16")
# A key that makes transformers import or fetch code; the word before says what it does.
_CODE_KEYS = ("auto_map", "custom_pipelines", "custom_generate")
_KERNEL_KEYS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
_PLAIN_ATTENTION = (None, "eager", "sdpa", "flash_attention_2", "flex_attention")
_GENERATION = (
    "decoder_start_token_id",
    "eos_token_id",
    "pad_token_id",
    "forced_bos_token_id",
)
# T5's family counts distances and has no last position; its models were trained on so many tokens.
_BY_DISTANCE, _TRAINED_ON = "relative_attention_num_buckets", 512
# RoBERTa's family numbers its positions from padding_idx + 1.
_OFFSET_POSITIONS = {"roberta": 2, "xlm-roberta": 2, "camembert": 2, "mpnet": 2}


@dataclass(frozen=True, slots=True)
class Label:
    """What a folder's files do not say about the model in it.

    Args:
        name: What the user wrote.
        source: Where it came from.
        licence: SPDX id; empty to read it from the model card.
        languages: BCP-47 codes; empty to read them from the model card.
        prefix: Put before every text; None to read it from sentence-transformers' settings.
        passage: Put before every document; None as of the prefix.
    """

    name: str
    source: Literal["starter", "hub", "folder"]
    licence: str = ""
    languages: tuple[str, ...] = ()
    prefix: str | None = None
    passage: str | None = None


def describe(folder: Path, label: Label) -> Backbone:
    """Everything the later stages need to know of a folder, without loading the weights.

    Raises:
        ModelError: If a file is missing, too large, damaged, or must not be loaded.
    """
    weights = weight_files(folder)
    config = read_config(folder)
    if (
        config.get("is_encoder_decoder") or "decoder_layers" in config
    ):  # it decides what such a model writes
        config |= read_generation(folder)
    reading = reading_files(folder)
    digests = [weights_sha256(file) for file in weights]
    card = _card(folder)
    prefix = _stored_prefix(folder, label.name) if label.prefix is None else label.prefix
    passage = _stored_passage(folder, label.name) if label.passage is None else label.passage
    return Backbone(
        name=label.name,
        source=label.source,
        path=str(folder),
        # Equal weights behind another tokenizer, prefix or configuration are another model: what
        # is kept of one must not be taken for the other's.
        sha256=digest(digests, config, *map(weights_sha256, reading), prefix),
        licence=label.licence or card.get("license", ["unknown"])[0],
        languages=label.languages or tuple(card.get("language", [])) or ("*",),
        parameters=count_parameters(weights),
        layers=_whole(
            folder, config, "num_hidden_layers", "n_layers", "num_layers", "encoder_layers"
        ),
        width=_whole(folder, config, "hidden_size", "dim", "d_model"),
        prefix=prefix,
        passage=passage,
        max_length=_positions(folder, config),
        weights_sha256=digests[0] if len(digests) == 1 else digest(digests),
    )


def reading_files(folder: Path) -> list[Path]:
    """The files that say how a model reads and writes texts.

    Raises:
        ModelError: If they are not there, by what is in their place.
    """
    if has_two(folder):
        return [folder / name for name in (SOURCE, TARGET, NUMBERS)]
    require_tokenizer(folder)
    writes = folder / TARGET_TOKENIZER
    return [folder / "tokenizer.json", *([writes] if writes.is_file() else [])]


def has_two(folder: Path) -> bool:
    """Whether it reads with one SentencePiece file, writes with another, and has no more."""
    whole = (folder / "tokenizer.json").is_file()
    return not whole and all((folder / name).is_file() for name in (SOURCE, TARGET, NUMBERS))


def require_tokenizer(folder: Path) -> None:
    """Refuse a folder without tokenizer.json, by what it has in its place.

    Raises:
        ModelError: If it has none.
    """
    if (folder / "tokenizer.json").is_file():
        return
    if has_two(folder):
        raise ModelError(
            f"{folder} reads with {SOURCE} and writes with {TARGET}: it translates, and is no"
            " encoder of texts.",
            fix="name it in a need whose task is translation or summarization, or name another"
            " model.",
        )
    lacking = [name for name in (SOURCE, TARGET, NUMBERS) if not (folder / name).is_file()]
    if SOURCE not in lacking or TARGET not in lacking:
        raise ModelError(
            f"{folder} has no {' and no '.join(lacking)}: a model of two vocabularies needs"
            f" {SOURCE}, {TARGET} and {NUMBERS}.",
            fix="get the files from the model's source again.",
        )
    if (folder / "sentencepiece.bpe.model").is_file() and (folder / "vocab.json").is_file():
        raise ModelError(
            f"{folder} has sentencepiece.bpe.model and vocab.json in the place of tokenizer.json,"
            " and transformers has no fast tokenizer that would be written from them.",
            fix="name a model of NLLB's or mBART's kind, which read as many languages.",
        )
    raise ModelError(
        f"{folder} has no tokenizer.json.",
        fix="save the fast tokenizer there: AutoTokenizer.from_pretrained(...).save_pretrained"
        f"({str(folder)!r}).",
    )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that together are the model, in order."""
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder.", fix="give the folder that has config.json.")
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{folder} holds an adapter (adapter_config.json), not a whole model.",
            fix="merge it into its base model: peft's merge_and_unload, then save_pretrained.",
        )
    whole = folder / "model.safetensors"
    found = [whole] if whole.is_file() else sorted(folder.glob("model-*-of-*.safetensors"))
    if found:
        return found
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder} has its weights as {pickles[0]}, a format that can run code when loaded; "
            "only safetensors are read.",
            fix="convert it once where you trust it: from_pretrained(...).save_pretrained(folder).",
        )
    raise ModelError(
        f"{folder} has no model.safetensors.",
        fix="give the folder that holds config.json, model.safetensors and tokenizer.json.",
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The plain values of config.json; nothing in them can name code.

    Raises:
        ModelError: If the file is missing, too large, not a JSON object, or asks for custom code.
    """
    file = folder / "config.json"
    values = _read_object(file)
    fault = _names_code(values)
    if fault:
        raise ModelError(
            f"{file} asks for code that is not part of transformers: {fault}.",
            fix="choose a model whose architecture transformers has; remote code is never run.",
        )
    if values.get("quantization_config"):
        raise ModelError(
            f"{file} describes quantised weights.",
            fix="use the model's unquantised weights; Sartor quantises after tuning.",
        )
    if not isinstance(values.get("model_type"), str):
        raise ModelError(
            f"{file} has no model_type (got {values.get('model_type')!r}).",
            fix="give a folder saved by transformers' save_pretrained.",
        )
    dropped = {"attn_implementation", "transformers_version", "dtype", "torch_dtype"}
    return {k: v for k, v in values.items() if not k.startswith("_") and k not in dropped}


def read_generation(folder: Path) -> dict[str, Any]:
    """How an encoder-decoder begins and ends what it writes, where generation_config.json says it.

    Raises:
        ModelError: If that file is too large or not a JSON object.
    """
    file = folder / "generation_config.json"
    values = _read_object(file) if file.is_file() else {}
    return {name: values[name] for name in _GENERATION if values.get(name) is not None}


def read_capped(file: Path, most: int) -> bytes:
    """A file's bytes, after its size.

    Raises:
        ModelError: If it is missing or larger than `most` bytes.
    """
    try:
        size = file.stat().st_size
        if size <= most:
            return file.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{file} cannot be read: {error.strerror}.",
            fix="give the folder that holds config.json, model.safetensors and tokenizer.json.",
        ) from error
    raise ModelError(
        f"{file} has {size:,} bytes; at most {most:,} are read.",
        fix="get the file from the model's source again: this is no such file's size.",
    )


def _read_object(file: Path) -> dict[str, Any]:
    data = read_capped(file, CONFIG_BYTES)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{file} is not JSON: {error}.", fix="get the file from the model's source again."
        ) from error
    if not isinstance(values, dict):
        raise ModelError(
            f"{file} holds a {type(values).__name__}, not an object.",
            fix="get the file from the model's source again.",
        )
    return values


def _names_code(values: Mapping[str, Any]) -> str:
    """The first key, at any depth, that would import or fetch code; empty when there is none."""
    for key, value in values.items():
        if key in _CODE_KEYS and value:
            return f"{key} = {value!r}"
        if key in _KERNEL_KEYS and value not in _PLAIN_ATTENTION:
            return f"{key} = {value!r}"
        if isinstance(value, dict) and (inner := _names_code(value)):
            return f"{key}.{inner}"
    return ""


def _positions(folder: Path, config: Mapping[str, Any]) -> int:
    """Tokens that a model can read."""
    if _BY_DISTANCE in config and "n_positions" not in config:
        return _TRAINED_ON
    whole = _whole(folder, config, "max_position_embeddings", "n_positions")
    return whole - _OFFSET_POSITIONS.get(config["model_type"], 0)


def _whole(folder: Path, config: Mapping[str, Any], *names: str) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and 0 < value < 1 << 24:
            return value
    raise ModelError(
        f"{folder / 'config.json'} has no usable {names[0]} (got {config.get(names[0])!r}).",
        fix="use a transformer encoder for text, for instance a BERT-like model.",
    )


def count_parameters(files: Sequence[Path], layers: int | None = None) -> int:
    """Floating-point numbers in safetensors files, from their headers alone.

    Args:
        files: From `weight_files`.
        layers: Count only what belongs to the first so many layers, or to none; all when None.

    Raises:
        ModelError: If a header is damaged.
    """
    shapes = [(name, shape) for file in files for name, shape in _float_shapes(file)]
    kept = [s for name, s in shapes if layers is None or _layer_of(name) < layers]
    return sum(map(prod, kept))


def _layer_of(tensor: str) -> int:
    """The layer that a tensor's dotted name puts it in, -1 for none: the first number counts."""
    return next((int(part) for part in tensor.split(".") if part.isdecimal()), -1)


def _float_shapes(file: Path) -> list[tuple[str, list[int]]]:
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(_HEADER_BYTES, size - 8):
            raise ModelError(
                f"{file} is damaged: its header claims {length:,} bytes, the file has {size:,}.",
                fix="get the file from the model's source again.",
            )
        header = opened.read(length)
    try:
        entries = {n: e for n, e in json.loads(header).items() if n != "__metadata__"}
        floats = {n: e["shape"] for n, e in entries.items() if e["dtype"] in _FLOATS}
        return [(name, [int(side) for side in shape]) for name, shape in floats.items()]
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        raise ModelError(
            f"{file} is damaged: its header is not a safetensors header.",
            fix="get the file from the model's source again.",
        ) from error


def _card(folder: Path) -> dict[str, list[str]]:
    """`license` and `language` of the model card's front matter, lower case; absent ones left out.

    Read line by line: the front matter is a stranger's YAML and two plain keys are all we want.
    """
    file = folder / "README.md"
    if not file.is_file() or file.stat().st_size > _CARD_BYTES:
        return {}
    text = file.read_text("utf-8", errors="replace")
    front = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    found: dict[str, list[str]] = {}
    key = ""
    for line in front[1].splitlines() if front else []:
        if pair := re.match(r"(\w+):\s*(.*)$", line):
            key, value = pair[1], pair[2].strip("[]'\" ")
            if value:
                found[key] = [part.strip("'\" ") for part in value.split(",")]
        elif (item := re.match(r"\s*-\s+(\S+)\s*$", line)) and key:
            found.setdefault(key, []).append(item[1].strip("'\""))
    languages = found.get("language", [])
    if "multilingual" in languages:
        found["language"] = ["*"]
    if "license" in found:
        found["license"] = [_SPDX.get(found["license"][0], found["license"][0])]
    return {name: found[name] for name in ("license", "language") if name in found}


_SPDX = {"apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause"}


def _stored_prefix(folder: Path, name: str) -> str:
    """The default prompt of sentence-transformers' settings, or E5's, which has none stored."""
    values = _sentence_settings(folder)
    prompts, chosen = values.get("prompts"), values.get("default_prompt_name")
    if isinstance(prompts, dict) and isinstance(prompt := prompts.get(chosen), str):
        return prompt
    # "query: " for symmetric tasks, as the E5 cards ask; the instruct models want another form.
    return "query: " if _is_e5(name) else ""


def _stored_passage(folder: Path, name: str) -> str:
    """The prompt of documents in sentence-transformers' settings, or E5's."""
    prompts = _sentence_settings(folder).get("prompts")
    for key in ("document", "passage"):
        if isinstance(prompts, dict) and isinstance(prompt := prompts.get(key), str):
            return prompt
    return "passage: " if _is_e5(name) else ""


def _sentence_settings(folder: Path) -> dict[str, Any]:
    file = folder / "config_sentence_transformers.json"
    return _read_object(file) if file.is_file() else {}


def _is_e5(name: str) -> bool:
    return bool(re.search(r"(^|[/_-])e5-(small|base|large)(?!.*instruct)", name))
