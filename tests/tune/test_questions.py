"""Fits that answer from a context: long ones in windows, alike in training and in the bundle."""

from pathlib import Path

import numpy as np
import pytest

from sartor.bundle import Preprocess, Windows, write_bundle
from sartor.core.events import silent
from sartor.core.likelihood import losses
from sartor.core.pieces import pieces
from sartor.core.spans import Passage
from sartor.core.types import Candidate, Examples
from sartor.core.windows import MOST_OF_CONTEXT, stride_of
from sartor.models.by_piece import in_pieces
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.loading import tokenizer_of
from sartor.models.precision import Precision
from sartor.search.portfolio import settings_of
from sartor.serve.runtime import load
from sartor.shrink.export import to_onnx
from sartor.tasks.question_answering.spec import QuestionAnswering
from sartor.tune.api import METHODS
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.minding import MindsContexts
from sartor.tune.settings import read_settings
from sartor.tune.soup import make_soup, read_soup
from sartor.tune.windows import Windowed, room_of
from tests.manifests import draft
from tests.tiny import make_tiny_bert

TASK = QuestionAnswering()
OUTPUTS = ["start", "end"]
CUT = 24
ASKED = {"price": "money", "late": "order", "taste": "product"}
"""What is asked for, to the word behind it that begins the answer."""
FILL = ("the", "is", "very", "this", "that", "and", "退", "款")


def examples(count, seed=0):
    """Contexts that hold what is asked for or not; every tenth is longer than a model reads."""
    draw = np.random.default_rng(seed)
    questions, contexts, targets = [], [], []
    for row in range(count):
        words = [str(w) for w in draw.choice(FILL, 40 if row % 10 == 9 else draw.integers(3, 9))]
        asked = str(draw.choice(list(ASKED)))
        found: tuple[Passage, ...] = ()
        if draw.random() < 0.7:
            words.insert(int(draw.integers(len(words))), ASKED[asked])
        text = " ".join(words)
        if ASKED[asked] in words:
            at = text.index(ASKED[asked])
            found = (Passage(at, at + len(ASKED[asked]), ASKED[asked]),)
        questions.append(f"{asked}?")
        contexts.append(text)
        targets.append(found)
    ids = tuple(map(str, range(count)))
    inputs = {"question": tuple(questions), "context": tuple(contexts)}
    return Examples(ids, inputs, tuple(targets))


TRAIN, HELD = examples(100), examples(40, 1)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    folder = make_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")
    return in_pieces(find_backbone(str(folder)))


def encoder(backbone):
    settings = EncodeSettings(max_length=CUT)
    return TextEncoder(backbone, None, precision=Precision(), settings=settings)


@pytest.fixture
def tuner(backbone, tmp_path: Path):
    options = TuneOptions(task="question_answering", max_length=CUT)
    return Tuner({backbone.name: backbone}, encoder, tmp_path / "fits", OUTPUTS, options)


def fit(tuner, backbone, method, settings, seed=0):
    candidate = Candidate(backbone.name, backbone.sha256, method, settings, seed)
    return tuner(candidate, TRAIN, HELD, silent)


def served(folder, method, backbone, to):
    """A bundle of a fit, loaded."""
    to_onnx(folder, "question_answering", to / "model.onnx")
    windows = Windows(stride=stride_of(CUT), most=MOST_OF_CONTEXT, aggregate="centre")
    read = Preprocess(max_length=CUT, windows=windows)
    manifest = draft(
        format=read.format,
        name=method,
        task="question_answering",
        inputs={"question": "text", "context": "text"},
        outputs=OUTPUTS,
        preprocess=read,
    )
    parts = {"model.onnx": to / "model.onnx", "tokenizer.json": folder / "tokenizer.json"}
    bundle = write_bundle(to / "bundle", manifest, parts, "name: x\n")
    return load(bundle.folder, threads=1, unreleased="allow")


LEARNT = {"epochs": 8, "batch_rows": 8, "lr": 3e-3, "head_lr": 1e-2}
SETTINGS = {"overlap": {}, "top_layers": {"top": 2, **LEARNT}, "full": LEARNT}


@pytest.mark.parametrize("method", SETTINGS)
def test_a_method_answers_and_its_bundle_answers_alike(method, tuner, backbone, tmp_path):
    fitted = fit(tuner, backbone, method, SETTINGS[method])
    logits = fitted.validation_logits
    longest = max(len(pieces(context)) for context in HELD.inputs["context"])
    assert logits.shape == (len(HELD), 1 + longest, 2)
    truth = TASK.truth(HELD, OUTPUTS)
    rule = TASK.settle(logits, HELD, OUTPUTS, ())
    answers = TASK.decode(logits, OUTPUTS, rule, HELD.texts)
    if method != "overlap":
        places = np.mean([np.log(len(pieces(c))) for c in HELD.inputs["context"]])
        assert losses(logits, truth).mean() < 0.5 * places
        right = [
            TASK.target.covers(TASK.brief(a).best, TASK.target.text(t))
            for a, t in zip(answers, HELD.target, strict=True)
        ]
        assert np.mean(right) > 0.6
    if method == "top_layers":  # its model is that of full
        return
    runtime = served(fitted.folder, method, backbone, tmp_path)
    found = runtime.logits(HELD.texts)
    np.testing.assert_allclose(found, logits[:, : found.shape[1]], atol=2e-2, rtol=2e-2)
    told = TASK.decode(found, OUTPUTS, rule, HELD.texts)
    same = [a["answer"] == b["answer"] for a, b in zip(answers, told, strict=True)]
    assert np.mean(same) >= 0.95


def test_settings_for_contexts_are_valid_and_try_nothing_twice():
    methods = {name: METHODS.get(name) for name in METHODS.names()}
    minding = {name: each for name, each in methods.items() if isinstance(each, MindsContexts)}
    assert set(minding) == {"top_layers", "lora", "full"}
    for name, method in minding.items():
        read = [
            read_settings(flat, task="question_answering", method=name)
            for flat in method.context_portfolio()
        ]
        assert all(read[i] != read[j] for i in range(len(read)) for j in range(i))
        assert settings_of(method, "question_answering") == method.context_portfolio()
        assert settings_of(method, "text_classification") == method.portfolio()


def test_windows_are_learnt_from_with_the_answers_that_they_hold(backbone):
    room = room_of(tokenizer_of(backbone), "", CUT)
    windowed = Windowed.of(TRAIN.texts, room)
    rows = windowed.examples(TRAIN)
    assert len(rows) > len(TRAIN) + 15
    for window, text, answers in zip(windowed.windows, rows.texts, rows.target, strict=True):
        question, part = text
        assert question == TRAIN.inputs["question"][window.row]
        assert all(part[a.start : a.end] == a.text for a in answers)
    held = {w.row for w, answers in zip(windowed.windows, rows.target, strict=True) if answers}
    assert held == {row for row, answers in enumerate(TRAIN.target) if answers}
    tokens = [tokenizer_of(backbone).encode(*text).ids for text in rows.texts]
    assert max(map(len, tokens)) <= CUT
    # Logits that point at each window's own truth point at the row's, once joined.
    truth = TASK.truth(rows, OUTPUTS)
    logits = np.full((len(rows), 1 + CUT, 2), -8.0, np.float32)
    for row in range(len(rows)):
        logits[row, truth[row, :, 0], [0, 1]] = 8.0
    joined = windowed.joined(logits)
    answers = TASK.decode(joined, OUTPUTS, {}, TRAIN.texts)
    for answer, target in zip(answers, TRAIN.target, strict=True):
        assert answer["answer"] in ({each.text for each in target} or {""})


def test_rows_of_which_a_window_was_not_scored_are_not_scored(backbone):
    windowed = Windowed.of(TRAIN.texts, room_of(tokenizer_of(backbone), "", CUT))
    logits = np.ones((len(windowed.windows), 1 + CUT, 2), np.float32)
    unscored = next(i for i, w in enumerate(windowed.windows) if w.begun)
    logits[unscored] = np.nan
    found = np.isnan(windowed.joined(logits)).all((1, 2))
    assert np.flatnonzero(found).tolist() == [windowed.windows[unscored].row]


def test_a_soup_reads_the_same_windows(tuner, backbone, tmp_path):
    short = {**LEARNT, "epochs": 2}
    fits = [fit(tuner, backbone, "full", short, seed).folder for seed in (0, 1)]
    (tmp_path / "soup").mkdir()
    make_soup(fits, (TRAIN, HELD), "question_answering", tmp_path / "soup")
    soup = read_soup(tmp_path / "soup")
    assert soup.validation_logits.shape == (
        len(HELD),
        1 + max(len(pieces(context)) for context in HELD.inputs["context"]),
        2,
    )
