"""A tiny BERT that labels texts as those of `personal` are, with the fit that it was made of."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sartor.bundle import Bundle, Preprocess, record_verdicts, write_bundle
from sartor.core.workspace import Workspace
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.shrink.export import to_onnx
from sartor.tasks._encoder.model import TextClassifier
from sartor.tune.reopened import Reading
from tests.manifests import draft
from tests.search.personal import LABELS, right
from tests.shrink.runs import compressed
from tests.tiny import CHINESE, WORDS, make_tiny_bert

FIT = "fits/tiny/fit"
TOPICS = ("refund", "invoice", "order", "late", "broken", "works", "price", "thanks", "money")
"""Words that the tokenizer knows, three for a label."""
NOISE = (*(word for word in WORDS if word not in TOPICS), *CHINESE)


def text_of(topic: int, number: int) -> str:
    """A text on a topic, another for each number."""
    draw = np.random.default_rng([topic, number])
    return " ".join((*[TOPICS[topic]] * 3, *draw.choice(NOISE, 3, replace=False)))


def make_fit(place: Workspace, scratch: Path) -> Path:
    """A fit whose head was solved, in a workspace; right on nearly every text."""
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setenv("SARTOR_HOME", str(scratch / "home"))
        encoder, tokenizer = load_text_backbone(
            find_backbone(str(make_tiny_bert(scratch / "tiny")))
        )
        torch.manual_seed(0)
        model = TextClassifier(encoder, len(LABELS), (2,)).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith("bias"):  # of equal ones the exporter keeps one
                    weight.normal_(0, 0.1)
    topics = [number % len(TOPICS) for number in range(360)]
    texts = [text_of(topic, 10_000 + number) for number, topic in enumerate(topics)]
    truth = [LABELS.index(right(topic)) for topic in topics]
    tokens = Reading(tokenizer, 0, "", by_piece=False).tokens(texts)
    with torch.no_grad():
        features = model.features(*tokens.batch(np.arange(len(texts)))).numpy()
        solved = LogisticRegression(C=1, max_iter=5_000).fit(features, truth)
        assert solved.score(features, truth) > 0.95
        model.head.weight.copy_(torch.from_numpy(solved.coef_))
        model.head.bias.copy_(torch.from_numpy(solved.intercept_))
    fit = place.folder / FIT
    model.save(fit)
    tokenizer.save(str(fit / "tokenizer.json"))
    return fit


def make_bundle(fit: Path, folder: Path, *, form: str = "", **changes: object) -> Bundle:
    """A bundle of a fit, in float or in the form that a compressor makes."""
    folder.mkdir(parents=True)
    to_onnx(fit, "text_classification", folder / "model.onnx")
    graph = compressed(form, folder / "model.onnx", folder / form) if form else None
    content = {
        "model.onnx": graph or folder / "model.onnx",
        "tokenizer.json": fit / "tokenizer.json",
    }
    told = {"preprocess": Preprocess(max_length=32), "lineage": {"fit": FIT}, **changes}
    manifest = draft(outputs=list(LABELS), **told)
    bundle = write_bundle(folder / "bundle", manifest, content, "name: tickets\n")
    return record_verdicts(bundle, [], released=True)
