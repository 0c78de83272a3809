"""A Llama in GGUF to a plain folder: blocks of 4 and 8 bits become float32, merges a tokenizer.

Little-endian, in order: magic "GGUF", version 3, counts of tensors and of keys; the keys (name,
type, value); a table of tensors (name, sides with the shortest step first, kind, offset); padding
to a multiple of 32; the tensors. Of the kinds, those that the file has are read, in blocks of 32:

    0  F32    w_i
    3  Q4_1   d · nibble_i + m     d and m float16; low nibbles are weights 0 to 15
    8  Q8_0   d · byte_i           d float16

Queries and keys are stored with the two halves of a head interleaved, and put back as transformers
turns them. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import ModelError

_ALIGNED = 32
_BLOCK = 32
_LARGEST_SIDE, _MOST_KEYS, _MOST_TENSORS, _MOST_ITEMS = 1 << 20, 256, 4096, 1 << 20
_SCALARS = dict(zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True))
_TEXT, _LIST = 8, 9
_Q4_1 = np.dtype([("scale", "<f2"), ("least", "<f2"), ("nibbles", "u1", (_BLOCK // 2,))])
_Q8_0 = np.dtype([("scale", "<f2"), ("bytes", "i1", (_BLOCK,))])
_F32 = np.dtype("<f4")
_KINDS = {0: (_F32, 1), 3: (_Q4_1, _BLOCK), 8: (_Q8_0, _BLOCK)}
"""Kind to what is stored, and how many weights that is."""
_CONTROL = 3
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True, slots=True)
class _Entry:
    shape: tuple[int, ...]
    kind: int
    offset: int


class _Reader:
    """Walks a buffer; what would pass its end is refused, not read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise _damaged(f"{size:,} bytes are claimed at byte {self.at:,} of {len(self.data):,}")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def text(self) -> str:
        try:
            return self.take(self.number("Q")).decode()
        except UnicodeDecodeError as error:
            raise _damaged(f"a text before byte {self.at:,} is not UTF-8") from error

    def value(self, kind: int) -> Any:
        """What a key holds; a list holds no lists."""
        if kind == _TEXT:
            return self.text()
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind != _LIST:
            raise _damaged(f"a value before byte {self.at:,} is of kind {kind}")
        inner, count = self.number("I"), self.number("Q")
        if inner == _LIST or count > _MOST_ITEMS:
            raise _damaged(f"a list before byte {self.at:,} claims {count:,} items")
        return [self.value(inner) for _ in range(count)]


def convert(data: bytes, folder: Path) -> None:
    """Write config.json, model.safetensors, tokenizer.json and chat_template.jinja.

    Args:
        data: The whole file; its SHA-256 is the caller's to check.
        folder: Exists.

    Raises:
        ModelError: If the file is damaged or of another format.
    """
    from safetensors.numpy import save_file

    reader = _Reader(data)
    if reader.take(4) != b"GGUF" or reader.number("I") != 3:
        raise _damaged(f"it begins with {data[:8]!r}, not b'GGUF' and version 3")
    tensors, keys = reader.number("Q"), reader.number("Q")
    if tensors > _MOST_TENSORS or keys > _MOST_KEYS:
        raise _damaged(f"it claims {tensors:,} tensors and {keys:,} keys")
    known = {reader.text(): reader.value(reader.number("I")) for _ in range(keys)}
    table = dict(_entry(reader) for _ in range(tensors))
    start = -(-reader.at // _ALIGNED) * _ALIGNED
    try:
        config = _config(known)
        _write_tokenizer(known, folder)
        template = str(known["tokenizer.chat_template"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _damaged(f"its keys describe no Llama ({error!r:.200})") from error
    weights = _weights(memoryview(data)[start:], table, config)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "chat_template.jinja").write_text(template, "utf-8")


def _entry(reader: _Reader) -> tuple[str, _Entry]:
    name, sides = reader.text(), reader.number("I")
    if not 1 <= sides <= 2:
        raise _damaged(f"tensor {name!r:.100} has {sides} sides")
    shape = tuple(reader.number("Q") for _ in range(sides))[::-1]
    kind, offset = reader.number("I"), reader.number("Q")
    if kind not in _KINDS or not all(0 < side <= _LARGEST_SIDE for side in shape):
        raise _damaged(f"tensor {name!r:.100} is of kind {kind} and shape {shape}")
    return name, _Entry(shape, kind, offset)


def _config(known: dict[str, Any]) -> dict[str, Any]:
    if known["general.architecture"] != "llama":
        raise ValueError(known["general.architecture"])

    def size(key: str) -> int:
        found = known[f"llama.{key}"]
        if not isinstance(found, int) or not 0 < found <= _LARGEST_SIDE:
            raise ValueError(key)
        return found

    width, heads = size("embedding_length"), size("attention.head_count")
    kept = size("attention.head_count_kv")
    if width % heads or heads % kept or size("rope.dimension_count") * heads != width:
        raise ValueError(f"{width} wide, {heads} heads, {kept} of keys")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": size("vocab_size"),
        "hidden_size": width,
        "num_hidden_layers": size("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kept,
        "intermediate_size": size("feed_forward_length"),
        "max_position_embeddings": size("context_length"),
        "hidden_act": "silu",
        # Stored as float32: 1e-5 comes back as 9.99999975e-6.
        "rms_norm_eps": float(f"{float(known['llama.attention.layer_norm_rms_epsilon']):.6g}"),
        "rope_theta": float(known["llama.rope.freq_base"]),
        "tie_word_embeddings": True,
        "bos_token_id": int(known["tokenizer.ggml.bos_token_id"]),
        "eos_token_id": int(known["tokenizer.ggml.eos_token_id"]),
        "pad_token_id": int(known["tokenizer.ggml.padding_token_id"]),
    }


def _write_tokenizer(known: dict[str, Any], folder: Path) -> None:
    """Byte-level BPE that splits digits, as SmolLM2's own; a text gets no token beside its own."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    if (known["tokenizer.ggml.model"], known["tokenizer.ggml.pre"]) != ("gpt2", "smollm"):
        raise ValueError(known["tokenizer.ggml.pre"])
    pieces: list[str] = known["tokenizer.ggml.tokens"]
    kinds: list[int] = known["tokenizer.ggml.token_type"]
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    if len(vocabulary) != len(pieces) or len(pieces) != known["llama.vocab_size"]:
        raise ValueError(f"{len(pieces)} pieces, {len(vocabulary)} of them different")
    merges = [tuple(merge.split(" ")) for merge in known["tokenizer.ggml.merges"]]
    # Whoever makes it checks the merges with an exception of no kind of its own.
    if any(len(m) != 2 or not {*m, "".join(m)} <= vocabulary.keys() for m in merges):
        raise ValueError("a merge of what is no piece")
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [piece for piece, kind in zip(pieces, kinds, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(p, special=True, normalized=False) for p in control])
    tokenizer.save(str(folder / "tokenizer.json"))


def _weights(
    body: memoryview, table: dict[str, _Entry], config: dict[str, Any]
) -> dict[str, NDArray[np.float32]]:
    """Every tensor of the model under transformers' name."""
    width, wide = config["hidden_size"], config["intermediate_size"]
    heads, kept = config["num_attention_heads"], config["num_key_value_heads"]
    narrow = width // heads * kept
    shapes = {
        **dict.fromkeys(("attn_norm", "ffn_norm"), (width,)),
        **dict.fromkeys(("attn_q", "attn_output"), (width, width)),
        **dict.fromkeys(("attn_k", "attn_v"), (narrow, width)),
        **dict.fromkeys(("ffn_gate", "ffn_up"), (wide, width)),
        "ffn_down": (width, wide),
    }

    def read(name: str, *shape: int) -> NDArray[np.float32]:
        entry = table.get(name)
        if entry is None or entry.shape != shape:
            found = "missing" if entry is None else f"of shape {entry.shape}"
            raise _damaged(f"tensor {name!r} is {found}, where {shape} is wanted")
        return _read(body, name, entry)

    found = {
        "model.embed_tokens.weight": read("token_embd.weight", config["vocab_size"], width),
        "model.norm.weight": read("output_norm.weight", width),
    }
    for layer in range(config["num_hidden_layers"]):
        for short, name in _LAYER.items():
            tensor = read(f"blk.{layer}.{short}.weight", *shapes[short])
            if short in ("attn_q", "attn_k"):
                tensor = _turned(tensor, heads if short == "attn_q" else kept)
            found[f"model.layers.{layer}.{name}.weight"] = tensor
    if "output.weight" in table:
        raise _damaged("its head is not that of the embedding")
    return found


def _turned(tensor: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of each head: pairs side by side become halves, as transformers rotates them."""
    pairs = tensor.reshape(heads, tensor.shape[0] // heads // 2, 2, tensor.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(tensor.shape))


def _read(body: memoryview, name: str, entry: _Entry) -> NDArray[np.float32]:
    form, each = _KINDS[entry.kind]
    count = prod(entry.shape)
    if entry.shape[-1] % each or entry.offset + count // each * form.itemsize > len(body):
        raise _damaged(f"tensor {name!r} of shape {entry.shape} passes the end of the file")
    blocks: Any = np.frombuffer(body, form, count // each, entry.offset)
    if form is _F32:
        return blocks.reshape(entry.shape).astype(np.float32)
    scale = blocks["scale"].astype(np.float32)[:, None]
    weights = np.empty((len(blocks), _BLOCK), np.float32)
    if form is _Q8_0:
        np.multiply(blocks["bytes"], scale, out=weights)
        return weights.reshape(entry.shape)
    weights[:, : _BLOCK // 2] = blocks["nibbles"] & 15
    weights[:, _BLOCK // 2 :] = blocks["nibbles"] >> 4
    weights *= scale
    weights += blocks["least"].astype(np.float32)[:, None]
    return weights.reshape(entry.shape)


def _damaged(why: str) -> ModelError:
    return ModelError(
        f"The GGUF file is damaged, or no Llama: {why}.",
        fix="fetch it again: sartor starters add smollm2",
    )
