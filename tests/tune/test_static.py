"""Static vectors: a table of scores answers as the fit said, whatever it was folded from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from sartor.core.errors import ModelError, NothingToShrink
from sartor.core.events import silent
from sartor.core.types import Backbone, Candidate
from sartor.models.loading import load_encoder, load_tokenizer
from sartor.search.estimates import Work
from sartor.search.rungs import Aim, build_rungs
from sartor.shrink.export import to_onnx
from sartor.tasks._encoder.static import StaticClassifier
from sartor.tasks.text_classification.train import load
from sartor.tune.batching import Tokens
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.loop import log_loss, score
from tests.shrink.runs import compressed
from tests.tune.killed import reviews, tiny_backbone

OUTPUTS = ["great", "other"]
TRAIN, HELD = reviews(200, 1), reviews(60, 2)


class Alone:
    """Gives each text a random hidden state of its own; keeps what it was asked."""

    max_length = 64

    def __init__(self) -> None:
        self.asked: list[str] = []

    def features(self, texts: Sequence[str], layers: Sequence[int]) -> np.ndarray:
        self.asked += texts
        seeds = [[ord(letter) for letter in text] for text in texts]
        rows = [np.random.default_rng(seed).normal(size=32) for seed in seeds]
        return np.tile(np.array(rows, np.float32), (1, len(layers)))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny")


def _fit(backbone: Backbone, folder: Path, source: Any = None, **settings: Any):
    encoder = source or Alone()
    tuner = Tuner(
        {"tiny": backbone}, lambda _: encoder, folder, OUTPUTS, TuneOptions(max_length=64)
    )
    candidate = Candidate("tiny", "0" * 64, "static", settings, 0)
    return tuner(candidate, TRAIN, HELD, silent)


def _tokens(backbone: Backbone, texts: Sequence[str]) -> Tokens:
    tokenizer = load_tokenizer(Path(backbone.path))
    return Tokens([e.ids for e in tokenizer.encode_batch(list(texts))], 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"strength": 1.0},
        {"sif": 1e-2, "remove": 1, "keep": 16, "strength": 1.0},
        {"vectors": "distilled", "layers": [0, 1], "strength": 1.0},
    ],
)
def test_a_fit_learns_and_its_folder_gives_its_logits(backbone, tmp_path, settings):
    fitted = _fit(backbone, tmp_path, **settings)

    truth = np.array([OUTPUTS.index(label) for label in HELD.target])
    rate = float(np.mean(truth))
    ignorant = -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    assert log_loss(fitted.validation_logits, truth) < 0.9 * ignorant
    served = score(load(fitted.folder), _tokens(backbone, HELD.inputs["text"]))
    np.testing.assert_allclose(served, fitted.validation_logits, atol=1e-4)
    assert fitted.train_logits.shape == (200, 2)


def test_the_table_of_words_is_read_without_encoding_a_text(backbone, tmp_path):
    source = Alone()

    _fit(backbone, tmp_path, source)

    assert source.asked == []


def test_distilling_encodes_each_token_that_occurs_once_without_its_mark(backbone, tmp_path):
    source = Alone()

    _fit(backbone, tmp_path, source, vectors="distilled")

    words = {word for text in TRAIN.inputs["text"] for word in text.split()}
    assert len(source.asked) == len(set(source.asked)) <= len(words) + 60
    assert not any(text.startswith("##") for text in source.asked)


def test_its_logits_are_the_head_on_the_mean_of_the_words_vectors(backbone, tmp_path):
    fitted = _fit(backbone, tmp_path)
    model = load(fitted.folder)
    table = load_encoder(backbone).get_input_embeddings().weight.detach().numpy()
    tokens = _tokens(backbone, HELD.inputs["text"])
    means = np.array([table[ids[1:-1]].mean(0) for ids in tokens.ids])

    # Linear in the mean: the least-squares map from means to logits leaves nothing.
    design = np.hstack([means, np.ones((len(means), 1))])
    solution, *_ = np.linalg.lstsq(design, fitted.validation_logits, rcond=None)

    np.testing.assert_allclose(design @ solution, fitted.validation_logits, atol=1e-3)
    assert isinstance(model, StaticClassifier)


@pytest.mark.slow
def test_it_exports_to_one_small_graph_that_serves_padding_and_any_length(backbone, tmp_path):
    fitted = _fit(backbone, tmp_path / "fits")
    graph = tmp_path / "model.onnx"

    to_onnx(fitted.folder, "text_classification", graph)

    session = onnxruntime.InferenceSession(graph)
    ids, mask = _tokens(backbone, HELD.inputs["text"]).batch(np.arange(20))
    (found,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    np.testing.assert_allclose(found, fitted.validation_logits[:20], atol=1e-4)
    assert graph.stat().st_size < 10_000
    # Nothing is lost in eight bits that would not be lost in parity: there is no product.
    with pytest.raises(NothingToShrink):
        compressed("int8_dynamic", graph, tmp_path / "int8")


def test_a_text_of_unknown_tokens_gets_the_bias():
    model = StaticClassifier(5, 2)
    model.bias.data = torch.tensor([1.0, 2.0])
    model.counted[:3] = 1.0
    model.scores.data[3:] = 7.0

    found = model(torch.tensor([[3, 4]]), torch.tensor([[1, 1]]))

    assert found.tolist() == [[1.0, 2.0]]


def test_a_table_that_does_not_fit_its_description_is_refused(tmp_path):
    StaticClassifier(5, 2).save(tmp_path)
    text = (tmp_path / "classifier.json").read_text()
    (tmp_path / "classifier.json").write_text(text.replace('"outputs": 2', '"outputs": 3'))

    with pytest.raises(ModelError, match="does not hold a saved text classifier"):
        load(tmp_path)


def test_its_size_and_time_are_not_those_of_the_backbone():
    large = Backbone("b", "folder", "", "0" * 64, "MIT", ("en",), 118_000_000, 12, 384)
    work = Work(100_000, 10_000, 110_000, 100.0)

    rungs, _ = build_rungs(
        [large], ["static", "head"], Aim("text_classification", 0), lambda *_: work
    )

    static, head = (rung.estimate for rung in rungs)
    assert static.size_mb.high < 0.1 * head.size_mb.high
    assert static.seconds.high < head.seconds.high
