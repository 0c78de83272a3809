"""Fits that find documents: the frozen space, the tuned encoder, and what is served of them."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sartor.bundle import Manifest, Preprocess, write_bundle
from sartor.core.activations import Activations
from sartor.core.events import Emit, Event, StageProgress, silent
from sartor.core.likelihood import hits
from sartor.core.types import Backbone, Candidate, Examples
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.loading import load_text_backbone, load_tokenizer
from sartor.models.packed import tokenise
from sartor.models.precision import Precision
from sartor.search.documents import Indexing
from sartor.search.portfolio import settings_of
from sartor.search.rungs import method_order
from sartor.search.suiting import unfit
from sartor.serve import runtime
from sartor.serve.indexed import Indexed
from sartor.shrink.api import GRAPH, TOKENIZER
from sartor.shrink.export import to_onnx
from sartor.tasks import TASKS
from sartor.tasks._encoder.heads import Index
from sartor.tasks.retrieval.train import load
from sartor.tune.api import METHODS
from sartor.tune.batching import Tokens
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.minding import MindsDocuments
from sartor.tune.scoring import score
from sartor.tune.settings import read_settings
from sartor.tune.stated import SomeStates
from sartor.tune.teaching import passages_a_row
from tests.manifests import draft
from tests.tiny import WORDS
from tests.tune.killed import tiny_backbone

TASK = "retrieval"
_SAID = WORDS[:30]
_DRAW = random.Random(0)
DOCUMENTS = {f"d{i}": " ".join(_DRAW.sample(_SAID, 8)) for i in range(24)}
OUTPUTS = list(DOCUMENTS)
LENGTH = 32
LOOP = {"epochs": 4, "lr": 1e-3, "batch_rows": 16, "patience": 8}
FITS = {
    "centred": ("nearest", {"layers": [0], "metric": "centred"}),
    "within": ("nearest", {"layers": [1], "metric": "within", "shrinkage": 0.5}),
    "narrow": ("nearest", {"layers": [0], "metric": "whitened", "dimensions": 16}),
    "lora": ("lora", LOOP),
    "full": ("full", {**LOOP, "lr": 2e-4}),
    "top_layers": ("top_layers", {"top": 1, **LOOP}),
}


def queries(count: int, seed: int) -> Examples:
    """Some of a document's words in another order; a few rows that none answers."""
    draw = random.Random(seed)
    texts, target = [], []
    for _ in range(count):
        name = draw.choice(OUTPUTS)
        texts.append(" ".join(draw.sample(DOCUMENTS[name].split(), draw.choice((3, 4, 5)))))
        target.append((name,))
    texts.append("thanks money")
    target.append(())
    ids = tuple(f"{seed}-{i}" for i in range(len(texts)))
    return Examples(ids, {"text": tuple(texts)}, tuple(target))


TRAIN, HELD = queries(120, 1), queries(60, 2)
TRUTH = TASKS.get(TASK)().truth(HELD, OUTPUTS)
ANSWERED = np.array([bool(names) for names in HELD.target])


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny")


@pytest.fixture(scope="module")
def tuner(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Tuner:
    settings = EncodeSettings(max_length=LENGTH)
    source = TextEncoder(backbone, None, precision=Precision(), settings=settings)
    options = TuneOptions(
        task=TASK, max_length=LENGTH, scored_train_rows=20, descriptions=DOCUMENTS
    )
    work = tmp_path_factory.mktemp("work")
    return Tuner({"tiny": backbone}, lambda _: source, work, OUTPUTS, options)


def candidate(name: str, **more: object) -> Candidate:
    method, settings = FITS[name]
    return Candidate("tiny", "0" * 64, method, settings | more, seed=1)


def recall(logits: np.ndarray) -> float:
    return float(hits(logits, TRUTH)[ANSWERED].mean())


def manifest() -> Manifest:
    return draft(
        name="answers",
        task=TASK,
        outputs=OUTPUTS,
        decision={"temperature": 1.0, "sureness": [1.0, 1.0, 0.0], "answer_from": 0.0},
        preprocess=Preprocess(max_length=LENGTH),
    )


@pytest.mark.parametrize("name", FITS)
def test_a_fit_finds_documents_better_than_chance(tuner: Tuner, name: str):
    fitted = tuner(candidate(name), TRAIN, HELD, silent)
    assert fitted.validation_logits.shape == (len(HELD), len(OUTPUTS))
    assert recall(fitted.validation_logits) > 0.25, "one in 24 is chance"
    model = load(fitted.folder)
    assert isinstance(model.head, Index)
    lengths = np.linalg.norm(model.head.vectors.numpy(), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-3)


def test_tuning_does_better_than_the_untuned_encoder_it_started_from(tuner: Tuner):
    untuned = tuner(candidate("centred", layers=[-1]), TRAIN, HELD, silent)
    tuned = tuner(candidate("lora"), TRAIN, HELD, silent)
    assert recall(tuned.validation_logits) > recall(untuned.validation_logits) + 0.05


def test_the_upper_layers_learn_from_states_what_they_would_learn_from_tokens(tuner: Tuner):
    loop = {**LOOP, "epochs": 1, "dropout": 0.0, "evaluations": 1}
    told = replace(candidate("top_layers"), settings={"top": 2, "token_share": 1.0, **loop})
    fitted = tuner(told, TRAIN, HELD, silent)
    model = load(fitted.folder)
    before = load_text_backbone(tuner.backbones["tiny"])[0]
    words = model.encoder.get_input_embeddings().weight
    torch.testing.assert_close(words, before.get_input_embeddings().weight)
    # The whole model reads the tokens anew, documents and rows, and finds what the part found.
    tokenizer = load_tokenizer(fitted.folder)
    documents = Tokens(tokenise(tokenizer, list(DOCUMENTS.values()), ""), 0)
    with torch.no_grad():
        anew = model.head.embed(model.features(*documents.batch(np.arange(len(DOCUMENTS)))))
    torch.testing.assert_close(anew, model.head.vectors, atol=2e-2, rtol=0)
    found = score(model, Tokens(tokenise(tokenizer, HELD.texts, ""), 0))
    np.testing.assert_allclose(found, fitted.validation_logits, atol=0.1)


def test_a_step_reads_some_tokens_of_documents_too(tuner: Tuner, monkeypatch: pytest.MonkeyPatch):
    read: list[int] = []
    drawn = SomeStates.batch

    def told(self: SomeStates, rows: Any) -> Any:
        found = drawn(self, rows)
        read.append(len(rows))
        return found

    monkeypatch.setattr(SomeStates, "batch", told)
    short = {**LOOP, "epochs": 1, "max_steps": 1, "evaluations": 1}
    tuner(replace(candidate("top_layers"), settings={"top": 1, **short}), TRAIN, HELD, silent)
    assert len(read) > 1, "one batch of rows, and its documents"


@pytest.mark.parametrize(
    "name", ["within", "top_layers", pytest.param("lora", marks=pytest.mark.slow)]
)
def test_the_bundle_answers_as_the_fit_did(tuner: Tuner, tmp_path: Path, name: str):
    fitted = tuner(candidate(name), TRAIN, HELD, silent)
    to_onnx(fitted.folder, TASK, tmp_path / GRAPH)
    content = {GRAPH: tmp_path / GRAPH, TOKENIZER: fitted.folder / TOKENIZER}

    def stage(_: str, key: str, build):
        folder = tmp_path / key[:8]
        folder.mkdir()
        build(folder)
        return folder

    indexing = Indexing(DOCUMENTS, "", manifest(), "", stage, tmp_path)
    bundle = write_bundle(tmp_path / "bundle", manifest(), indexing(content), "name: answers\n")
    loaded = runtime.start(bundle, threads=1)
    assert isinstance(loaded.model, Indexed)
    # Cached activations are in half precision, and so are the vectors of the index.
    np.testing.assert_allclose(loaded.logits(HELD.texts), fitted.validation_logits, atol=0.1)
    wanted = TASKS.get(TASK)().decode(fitted.validation_logits, OUTPUTS, bundle.manifest.decision)
    found = loaded.predict(list(HELD.rows()))
    for one, other in zip(found, wanted, strict=True):
        assert one["documents"][0]["text"] == DOCUMENTS[one["documents"][0]["id"]]
        gap = other["documents"][0]["score"] - other["documents"][1]["score"]
        if gap > 0.1:
            assert one["documents"][0]["id"] == other["documents"][0]["id"]


def test_documents_have_their_own_prefix(backbone: Backbone):
    settings = EncodeSettings(max_length=LENGTH)
    told = replace(backbone, prefix="good ", passage="bad ")
    plain = TextEncoder(backbone, None, precision=Precision(), settings=settings)
    source = TextEncoder(told, None, precision=Precision(), settings=settings)
    np.testing.assert_array_equal(
        source.features(["order"], [1]), plain.features(["good order"], [1])
    )
    np.testing.assert_array_equal(
        source.passages(["order"], [1]), plain.features(["bad order"], [1])
    )
    states = source.states(["order"], 1, passages=True), plain.states(["bad order"], 1)
    (one,), (other,) = (found.read([0]) for found in states)
    np.testing.assert_array_equal(one, other)


def test_only_what_finds_documents_is_on_the_ladder():
    assert "nearest" not in method_order(None)
    rungs = method_order(None, task=TASK)
    assert rungs[0] == "nearest"
    assert {"lora", "full"} <= set(rungs)
    assert not {"head", "static", "zero_shot"} & set(rungs)
    assert "finds documents" in unfit("nearest", "text_classification")
    assert "by their words" in unfit("head", TASK)


def test_a_row_is_told_by_its_document_and_by_negatives():
    assert passages_a_row(TASK) == 3
    assert passages_a_row("text_classification") == 0


def test_settings_for_documents_are_valid_and_try_nothing_twice():
    method = METHODS.get("top_layers")
    assert isinstance(method, MindsDocuments)
    first, second = method.document_portfolio()
    assert first != second
    for flat in (first, second):
        read_settings(flat, task=TASK, method="top_layers")
    assert settings_of(method, TASK) == [first, second]
    assert settings_of(method, "text_classification") == method.portfolio()


def test_a_fit_that_was_stopped_between_steps_ends_with_the_same_bytes(
    backbone: Backbone, tmp_path: Path
):
    def fitted(work: Path, emit: Emit) -> bytes:
        settings = EncodeSettings(max_length=LENGTH)
        source = TextEncoder(
            backbone,
            Activations(work / "activations"),
            states_cache=Activations(work / "states"),
            precision=Precision(),
            settings=settings,
        )
        options = TuneOptions(task=TASK, max_length=LENGTH, descriptions=DOCUMENTS)
        tuner = Tuner({"tiny": backbone}, lambda _: source, work, OUTPUTS, options)
        folder = tuner(candidate("top_layers"), TRAIN, HELD, emit).folder
        return (folder / "model.safetensors").read_bytes()

    def stops(event: Event) -> None:
        if isinstance(event, StageProgress) and event.stage != "encode" and event.done >= 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "stopped", stops)
    assert fitted(tmp_path / "stopped", silent) == fitted(tmp_path / "whole", silent)
