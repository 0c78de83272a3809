"""An exported folder answers as the model did, whichever stock library loads it."""

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
from sartor.shrink.stocks._predict import Model
from sartor.shrink.stocks.classifier import logits_of
from sartor.tasks import TASKS
from sartor.tasks._encoder.added import install
from sartor.tasks._encoder.added.adapter import Adapter
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks._encoder.static import StaticClassifier
from tests.tiny import make_tiny_bert, tiny_tokenizer

OUTPUTS = ("refund", "invoice", "其他")
RULE = {"temperature": 1.7, "weights": {"refund": 2.0, "invoice": 1.0}, "abstain_below": 0.4}
TASK = "text_classification"
TOLD = Told(TASK, OUTPUTS, RULE, "order ", "", 16, windows=False)
TEXTS = ["refund please", "the invoice was late and " * 20, "", "退款 谢谢 this is my order"]
HEADS: dict[str, dict[str, Any]] = {
    "linear": {},
    "hidden": {"kind": "hidden", "hidden": 7},
    "cosine": {"kind": "cosine"},
}


def fitted(
    folder: Path, layers: tuple[int, ...], head: Mapping[str, Any], outputs: int = len(OUTPUTS)
) -> TextClassifier:
    """A model with drawn weights, and its folder as a fit leaves it."""
    encoder, _ = load_text_backbone(find_backbone(str(make_tiny_bert(folder / "tiny"))))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = TextClassifier(encoder, outputs, layers, head).eval()
        for parameter in model.head.parameters():
            torch.nn.init.normal_(parameter)
        for name, buffer in model.head.named_buffers():
            buffer.copy_(torch.randn(buffer.shape) if name == "centre" else torch.tensor(4.0))
    leave(model, folder / "fit")
    return model


def write(fit: Path, folder: Path, told: Told = TOLD) -> Usage:
    return stock_of(told.task).write(fit, told, folder)


def leave(model: Any, folder: Path) -> None:
    model.save(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))


def wanted(model: TextClassifier) -> np.ndarray:
    """(texts, labels) logits as the fit computes them, each text alone."""
    tokenizer = tiny_tokenizer()
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOLD.max_length)
    rows = [tokenizer.encode(TOLD.prefix + text).ids for text in TEXTS]
    with torch.inference_mode():
        found = [
            model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long)) for ids in rows
        ]
    return torch.cat(found).numpy()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARTOR_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("layers", [(2,), (1,), (0,), (1, 2)], ids=str)
def test_stock_classes_give_the_fits_logits(
    tmp_path: Path, layers: tuple[int, ...], head: str, capfd: pytest.CaptureFixture[str]
):
    model = fitted(tmp_path, layers, HEADS[head])
    capfd.readouterr()
    (tmp_path / "out").mkdir()
    said = write(tmp_path / "fit", tmp_path / "out")
    alone = "transformers" if len(layers) > 1 else "sentence-transformers"
    assert said.loader == alone
    expected = wanted(model)
    assert np.ptp(expected, axis=0).min() > 0.01, "the texts are answered alike: nothing is shown"
    np.testing.assert_allclose(logits_of(tmp_path / "out", TEXTS), expected, atol=1e-4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("head", HEADS)
def test_sentence_transformers_encodes_to_logits(tmp_path: Path, head: str):
    library = pytest.importorskip("sentence_transformers")
    model = fitted(tmp_path, (2,), HEADS[head])
    (tmp_path / "out").mkdir()
    write(tmp_path / "fit", tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        found = library.SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(found, wanted(model), atol=1e-4)


def test_the_script_in_the_folder_answers_by_the_decision_rule_without_sartor(tmp_path: Path):
    from sartor.tasks.text_classification.spec import TextClassification

    model = fitted(tmp_path, (2,), {})
    (tmp_path / "out").mkdir()
    write(tmp_path / "fit", tmp_path / "out")
    code = "import sys; sys.modules['sartor'] = None; sys.argv.pop(0); import runpy;"
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out" / "predict.py"), *TEXTS],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said = [json.loads(line) for line in ran.stdout.splitlines()]
    expected = TextClassification().decode(wanted(model), OUTPUTS, RULE)
    assert [a["label"] for a in said] == [a["label"] for a in expected]
    assert [a["best"] for a in said] == [a["best"] for a in expected]
    for a, b in zip(said, expected, strict=True):
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-4)


@pytest.mark.parametrize(
    ("task", "rule"),
    [
        ("multi_label", {"slope": 1.3, "offsets": {"refund": -0.4}, "thresholds": {"其他": 0.3}}),
        ("ordinal", {"temperature": 1.2, "rule": "mode", "weights": {"invoice": 3.0}}),
        ("ordinal", {"temperature": 1.2, "rule": "median"}),
        ("ordinal", {"temperature": 1.2, "rule": "mean"}),
        ("ordinal", {"temperature": 1.2, "rule": "cuts", "cuts": [0.8, 1.1]}),
        ("text_regression", {"half_width": 0.7, "coverage": 0.9}),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get("rule", ""),
)
def test_a_tasks_answers_are_those_of_its_own_rule(
    tmp_path: Path, task: str, rule: Mapping[str, Any]
):
    outputs = OUTPUTS[:1] if task == "text_regression" else OUTPUTS
    fitted(tmp_path, (2,), {}, len(outputs))
    (tmp_path / "out").mkdir()
    told = Told(task, outputs, rule, TOLD.prefix, "", TOLD.max_length, windows=True)
    usage = write(tmp_path / "fit", tmp_path / "out", told)
    logits = logits_of(tmp_path / "out", TEXTS)
    stock = stock_of(task)
    assert stock.apart(tmp_path / "out", told, Answered(TEXTS, logits)) < 1e-6
    assert stock.apart(tmp_path / "out", told, Answered(TEXTS, -logits)) > 0.1
    said = Model(tmp_path / "out").predict(TEXTS)
    expected = TASKS.get(task)().decode(logits, outputs, rule)
    for one, other in zip(said, expected, strict=True):
        assert {"label", "labels", "value"} & {*one}
        for name, value in one.items():
            told_so = (
                value if isinstance(value, str | list | None) else pytest.approx(value, abs=1e-4)
            )
            assert other[name] == told_so
    assert "reads on in windows" in usage.text


def test_the_folder_names_its_labels_and_no_place_of_this_machine(tmp_path: Path):
    fitted(tmp_path, (2,), {})
    (tmp_path / "out").mkdir()
    write(tmp_path / "fit", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {str(i): name for i, name in enumerate(OUTPUTS)}
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path.name


def test_what_no_stock_class_holds_is_refused_by_kind(tmp_path: Path):
    (tmp_path / "out").mkdir()
    leave(StaticClassifier(50, 3), tmp_path / "static")
    with pytest.raises(ModelError, match=r"a table of word scores \(static\)"):
        write(tmp_path / "static", tmp_path / "out")
    model = fitted(tmp_path, (2,), {})
    at = ("encoder.encoder.layer.0.output.dense",)
    install(model, Adapter(at=at, bottleneck=4, activation="gelu"))
    leave(model, tmp_path / "adapted")
    with pytest.raises(ModelError, match="added layers"):
        write(tmp_path / "adapted", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
