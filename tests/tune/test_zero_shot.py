"""Zero-shot: the nearest label by meaning, without a training label."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sartor.core.errors import SettingError
from sartor.core.events import silent
from sartor.core.types import Backbone, Candidate, Examples
from sartor.models.loading import load_text_backbone
from sartor.search.rungs import obstacles
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.text_classification.train import load
from sartor.tune.batching import Tokens
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.frozen import Frozen, Point
from sartor.tune.loop import score
from sartor.tune.methods.zero_shot import ZeroShot, sentences
from tests.tune.killed import reviews, tiny_backbone

BACKBONE = Backbone("b", "folder", "", "0" * 64, "MIT", ("en",), 1, 2, 8)


class Meanings:
    """Texts near what they speak of: axis 0 is weather, 1 is money, 2 is what all texts share."""

    max_length = 64

    def __init__(self) -> None:
        self.asked: list[str] = []

    def features(self, texts: Sequence[str], layers: Sequence[int]) -> np.ndarray:
        self.asked += texts
        found = np.zeros((len(texts), 8), np.float32)
        for row, text in zip(found, texts, strict=True):
            row[0] = text.lower().count("rain") + text.lower().count("weather")
            row[1] = text.lower().count("refund") + text.lower().count("money")
            row[2:] = 5.0
        return found


def _frozen(source: Any, outputs: Sequence[str], descriptions: Any = None) -> Frozen:
    train = ["rain rain", "refund", "rain", "refund refund", "rain and refund"]
    return Frozen(
        backbone=BACKBONE,
        source=source,
        train=train * 200,
        validation=["the rain today", "my refund please"],
        labels=np.zeros(1000, np.int64),
        held=np.array([0, 1]),
        outputs=outputs,
        descriptions=descriptions or {},
    )


def _fit(frozen: Frozen, **settings: Any):
    return ZeroShot.fit_all(frozen, [Point(ZeroShot(**settings), (2,), (1.0, 1.0), 0)])[0]


def test_texts_go_to_the_label_whose_name_is_nearest_without_a_training_label():
    fit = _fit(_frozen(Meanings(), ["weather", "money"]))

    assert fit.validation_logits.argmax(1).tolist() == [0, 1]


def test_a_description_speaks_for_a_label_that_says_nothing():
    meant = {"T1": "about the weather", "T2": "about money"}

    fit = _fit(_frozen(Meanings(), ["T1", "T2"], meant))

    assert fit.validation_logits.argmax(1).tolist() == [0, 1]


def test_only_labels_validation_texts_and_a_sample_of_training_texts_are_encoded():
    source = Meanings()

    fit = _fit(_frozen(source, ["weather", "money"]))

    assert len(source.asked) < 300
    scored = np.isfinite(fit.train_logits).all(1)
    assert fit.train_logits.shape == (1000, 2)
    assert 0 < scored.sum() < 300


def test_subtracting_the_mean_text_shows_what_tells_texts_apart():
    plain = _fit(_frozen(Meanings(), ["weather", "money"]), centre=False)
    centred = _fit(_frozen(Meanings(), ["weather", "money"]))

    def margin(fit: Any) -> float:
        return float(np.abs(np.diff(fit.validation_logits)).min())

    assert margin(centred) > 3 * margin(plain)


@pytest.mark.parametrize(
    ("outputs", "described", "why"),
    [
        (["0", "1"], {}, "'0' is no word"),
        (["LABEL_0", "LABEL_1"], {}, "differ in digits only"),
        (["refund", "7"], {}, "'7' is no word"),
        (["refund", "other"], {}, ""),
        (["正面", "负面"], {}, ""),
        (["0", "1"], {"0": "praise", "1": "complaint"}, ""),
    ],
)
def test_labels_that_are_no_words_are_refused_when_planning(outputs, described, why):
    candidate = Candidate("b", "0" * 64, "zero_shot", {}, 0)

    found = obstacles("text_classification", outputs, described)(BACKBONE, candidate)

    assert (why in found) if why else found is None
    if why:
        assert "label_descriptions" in found


def test_templates_follow_the_language_of_the_label():
    assert sentences("setTimer", "", ()) == ["set Timer", "This text is about set Timer."]
    assert sentences("退款", "", ())[1] == "这段文字是关于退款的。"
    assert sentences("turn_on", "lights", ("About {label}",)) == ["About turn on", "lights"]
    with pytest.raises(SettingError, match="does not say where the label goes"):
        sentences("refund", "", ("This is it.",))


def test_the_shipped_model_gives_the_logits_of_the_fit(tmp_path: Path):
    backbone = tiny_backbone(tmp_path / "tiny")
    _, tokenizer = load_text_backbone(backbone)
    tokenizer.enable_truncation(64)

    class Source:
        max_length = 64

        def features(self, texts: Sequence[str], layers: Sequence[int]) -> np.ndarray:
            import torch

            encoder, _ = load_text_backbone(backbone)
            model = TextClassifier(encoder, 2, layers).eval()
            model.head = torch.nn.Identity()
            return score(model, Tokens([e.ids for e in tokenizer.encode_batch(list(texts))], 0))

    rows = reviews(40, 1)
    tuner = Tuner(
        {"tiny": backbone},
        lambda _: Source(),
        tmp_path / "work",
        ["great", "other"],
        TuneOptions(max_length=64, descriptions={"other": "bad and awful"}),
    )
    held: Examples = reviews(30, 2)

    fitted = tuner(Candidate("tiny", "0" * 64, "zero_shot", {"layers": [1]}, 0), rows, held, silent)

    ids = [e.ids for e in tokenizer.encode_batch(list(held.inputs["text"]))]
    served = score(load(fitted.folder), Tokens(ids, 0))
    np.testing.assert_allclose(served, fitted.validation_logits, atol=1e-3)
    assert np.ptp(served) > 0.1
