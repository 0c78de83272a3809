"""An exported model of pairs answers as it did, whichever way it reads two texts."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sartor.core.errors import ModelError
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.shrink.stock import Answered, Told, Usage, stock_of
from sartor.shrink.stocks.pair import logits_of
from sartor.tasks._encoder.added import install
from sartor.tasks._encoder.added.adapter import Adapter
from sartor.tasks.text_pair.spec import TextPair as Spec
from sartor.tasks.text_pair.static import StaticPairClassifier
from sartor.tasks.text_pair.train import PairClassifier, TextPair
from tests.tiny import make_tiny_bert, tiny_tokenizer

OUTPUTS = ("same", "different")
RULE = {"temperature": 1.7, "weights": {"same": 2.0, "different": 1.0}, "abstain_below": 0.4}
TOLD = Told("text_pair", OUTPUTS, RULE, "order ", "", 20, windows=False)
PAIRS = [
    ("refund please", "my money back"),
    ("the invoice was late and " * 9, "the invoice is late"),
    ("the invoice is late", "the invoice was late and " * 9),
    ("", "退款 谢谢 this is my order"),
    ("great product", "great product"),
]
APART: dict[str, dict[str, Any]] = {
    "linear": {"symmetric": False, "head": {}},
    "symmetric": {"symmetric": True, "head": {}},
    "hidden": {"symmetric": True, "head": {"kind": "hidden", "hidden": 7}},
    "alike": {"symmetric": True, "head": {"kind": "similarity"}},
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARTOR_HOME", str(tmp_path / "home"))


def encoder(folder: Path) -> Any:
    found, _ = load_text_backbone(find_backbone(str(make_tiny_bert(folder / "tiny"))))
    return found


def drawn(model: Any) -> Any:
    """The model with a drawn head, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for tensor in [*model.head.parameters(), *model.head.buffers()]:
            torch.nn.init.normal_(tensor)
    return model.eval()


def joined(folder: Path) -> Any:
    return drawn(TextPair().build(encoder(folder), len(OUTPUTS), tiny_tokenizer()))


def apart(folder: Path, layers: tuple[int, ...], shape: Mapping[str, Any]) -> Any:
    head, symmetric = shape["head"], shape["symmetric"]
    return drawn(PairClassifier(encoder(folder), len(OUTPUTS), layers, symmetric, head))


def leave(model: Any, folder: Path) -> None:
    model.save(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))


def write(model: Any, place: Path) -> Usage:
    leave(model, place / "fit")
    (place / "out").mkdir()
    return stock_of("text_pair").write(place / "fit", TOLD, place / "out")


def wanted(model: Any) -> np.ndarray:
    """(pairs, labels) logits as the fit computes them, each pair alone."""
    tokenizer = tiny_tokenizer()
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOLD.max_length)
    alone = isinstance(model, PairClassifier)

    def read(*texts: str) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.tensor([tokenizer.encode(*(TOLD.prefix + text for text in texts)).ids])
        return ids, torch.ones_like(ids)

    with torch.inference_mode():
        found = [
            model(*read(one), *read(other)) if alone else model(*read(one, other))
            for one, other in PAIRS
        ]
    return torch.cat(found).numpy()


def holds(model: Any, place: Path) -> None:
    expected = wanted(model)
    assert np.ptp(expected, axis=0).max() > 0.01, "the pairs are answered alike: nothing is shown"
    np.testing.assert_allclose(logits_of(place / "out", PAIRS), expected, atol=1e-4)


def test_two_texts_in_one_sequence_are_read_as_the_fit_reads_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    model = joined(tmp_path)
    assert model.separator is not None
    capfd.readouterr()
    assert write(model, tmp_path).loader == "transformers"
    holds(model, tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shape", APART)
@pytest.mark.parametrize("layers", [(2,), (1,), (1, 2)], ids=str)
def test_texts_that_are_read_apart_are_compared_as_the_fit_compares_them(
    tmp_path: Path, layers: tuple[int, ...], shape: str
):
    model = apart(tmp_path, layers, APART[shape])
    usage = write(model, tmp_path)
    cosine = shape == "alike" and len(layers) == 1
    assert (usage.loader == "sentence-transformers") is cosine
    holds(model, tmp_path)


def test_what_is_printed_as_the_difference_is_one(tmp_path: Path):
    write(apart(tmp_path, (2,), APART["linear"]), tmp_path)
    stock, logits = stock_of("text_pair"), logits_of(tmp_path / "out", PAIRS)
    assert stock.apart(tmp_path / "out", TOLD, Answered(PAIRS, logits)) < 1e-6
    assert stock.apart(tmp_path / "out", TOLD, Answered(PAIRS, -logits)) > 0.1


def test_sentence_transformers_gives_vectors_whose_cosine_counts(tmp_path: Path):
    library = pytest.importorskip("sentence_transformers")
    model = apart(tmp_path, (2,), APART["alike"])
    write(model, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        loaded = library.SentenceTransformer(str(tmp_path / "out"), device="cpu")
        one, other = (loaded.encode([pair[side] for pair in PAIRS]) for side in (0, 1))
    cosine = (one * other).sum(1, keepdims=True)
    slope, offset = model.head.slope.numpy(), model.head.offset.numpy()
    np.testing.assert_allclose(cosine * slope + offset, wanted(model), atol=1e-4)


@pytest.mark.parametrize("way", ["joined", "apart"])
def test_the_script_in_the_folder_takes_two_arguments_as_a_pair(tmp_path: Path, way: str):
    model = joined(tmp_path) if way == "joined" else apart(tmp_path, (2,), APART["linear"])
    write(model, tmp_path)
    code = "import sys; sys.modules['sartor'] = None; sys.argv.pop(0); import runpy;"
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    asked = [text for pair in PAIRS for text in pair]
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out" / "predict.py"), *asked],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    odd = subprocess.run([*ran.args[:4], "alone"], capture_output=True, text=True, timeout=120)
    assert (odd.returncode, odd.stdout) == (1, "")
    assert "two texts each, and 1 were given" in odd.stderr
    assert "Traceback" not in odd.stderr
    said = [json.loads(line) for line in ran.stdout.splitlines()]
    expected = Spec().decode(wanted(model), OUTPUTS, RULE)
    assert [(a["label"], a["best"]) for a in said] == [(a["label"], a["best"]) for a in expected]
    for a, b in zip(said, expected, strict=True):
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-4)


def test_what_no_stock_class_holds_is_refused_by_kind(tmp_path: Path):
    with pytest.raises(ModelError, match=r"a table of words' vectors \(static\)"):
        write(StaticPairClassifier(50, 8, 2, symmetric=True), tmp_path)
    model = joined(tmp_path)
    at = ("encoder.encoder.layer.0.output.dense",)
    install(model, Adapter(at=at, bottleneck=4, activation="gelu"))
    leave(model, tmp_path / "adapted")
    with pytest.raises(ModelError, match="added layers"):
        stock_of("text_pair").write(tmp_path / "adapted", TOLD, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
