"""Fits that answer about pieces: heads on cached states, upper layers, and whole encoders."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sartor.core.events import silent
from sartor.core.likelihood import NO_PIECE, losses
from sartor.core.pieces import pieces
from sartor.core.spans import Span
from sartor.core.types import Candidate, Examples
from sartor.models.by_piece import in_pieces, tokenise_by_piece
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.loading import load_tokenizer
from sartor.models.precision import Precision
from sartor.shrink.export import to_onnx
from sartor.tasks.token_classification.spec import TokenClassification
from sartor.tasks.token_classification.train import PieceSource, load
from sartor.tune import unrolled
from sartor.tune.batching import Tokens
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.scoring import score
from sartor.tune.unrolled import Unrolled
from tests.tiny import make_tiny_bert

TASK = TokenClassification()
WORDS = {"refund": "topic", "invoice": "topic", "good": "mood", "bad": "mood", "退款": "topic"}
FILL = ("the", "a", "is", "very", "order", "质", "量", "30kg", "works")
CUT = 24


def examples(count, seed=0):
    """Texts in which some words are parts; the last is longer than a model reads."""
    draw = np.random.default_rng(seed)
    texts, targets = [], []
    for row in range(count):
        text, spans = "", []
        for _ in range(40 if row == count - 1 else draw.integers(2, 7)):
            word = str(draw.choice([*FILL, *WORDS]))
            text += " " if text else ""
            if word in WORDS:
                spans.append(Span(len(text), len(text) + len(word), WORDS[word]))
            text += word
        texts.append(text)
        targets.append(tuple(spans))
    return Examples(tuple(map(str, range(count))), {"text": tuple(texts)}, tuple(targets))


TRAIN, HELD = examples(120), examples(40, 1)
OUTPUTS = TASK.outputs(TRAIN, None)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    folder = make_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")
    return in_pieces(find_backbone(str(folder)))


def encoder(backbone):
    settings = EncodeSettings(max_length=CUT)
    return TextEncoder(backbone, None, precision=Precision(), settings=settings)


@pytest.fixture
def tuner(backbone, tmp_path: Path):
    options = TuneOptions(task="token_classification", max_length=CUT)
    return Tuner({backbone.name: backbone}, encoder, tmp_path / "fits", OUTPUTS, options)


SETTINGS = {
    "head": {"C": 1.0, "layers": [-2, -1]},
    "top_layers": {"top": 1, "epochs": 8, "batch_rows": 8, "lr": 3e-3, "head_lr": 1e-2},
    "lora": {"epochs": 8, "batch_rows": 8, "lr": 1e-2},
    "full": {"epochs": 8, "batch_rows": 8, "lr": 3e-3, "head_lr": 1e-2},
    "prefix": {"epochs": 2},
}


@pytest.mark.parametrize("method", SETTINGS)
def test_a_method_learns_and_the_saved_model_answers_alike(method, tuner, backbone):
    candidate = Candidate(backbone.name, backbone.sha256, method, SETTINGS[method], 0)
    fitted = tuner(candidate, TRAIN, HELD, silent)
    truth = TASK.truth(HELD, OUTPUTS)
    assert fitted.validation_logits.shape == (*truth.shape, len(OUTPUTS))
    assert fitted.train_logits.shape[:2] == TASK.truth(TRAIN, OUTPUTS).shape
    blind = np.log(len(OUTPUTS))
    assert (
        losses(fitted.validation_logits, truth).mean()
        < (0.8 if method == "prefix" else 0.5) * blind
    )
    decision = TASK.settle(fitted.validation_logits, HELD, OUTPUTS, ())
    answers = TASK.decode(fitted.validation_logits, OUTPUTS, decision, HELD.texts)
    if method != "prefix":
        right = [
            TASK.brief(a).best == TASK.target.text(t)
            for a, t in zip(answers, HELD.target, strict=True)
        ]
        assert np.mean(right) > 0.6
    model, tokenizer = load(fitted.folder), load_tokenizer(fitted.folder)
    tokenizer.enable_truncation(CUT)
    again = score(model, Tokens(*_with_pad(tokenise_by_piece(tokenizer, HELD.texts))))
    width = min(again.shape[1], truth.shape[1])
    np.testing.assert_allclose(
        again[:, :width], fitted.validation_logits[:, :width], atol=2e-2, rtol=2e-2
    )


def _with_pad(found):
    ids, marks = found
    return ids, 0, marks


def test_pieces_that_are_cut_off_are_not_read(tuner, backbone):
    candidate = Candidate(backbone.name, backbone.sha256, "head", SETTINGS["head"], 0)
    fitted = tuner(candidate, TRAIN, HELD, silent)
    last = fitted.validation_logits[-1]
    read = int(encoder(backbone).marks(HELD.texts)[-1].sum())
    assert read < len(pieces(HELD.texts[-1])) == len(last)
    assert last[:read].any(1).all()
    assert not last[read:].any()


def test_what_a_head_reads_of_a_piece_is_the_state_of_its_first_token(backbone):
    source = encoder(backbone)
    texts = ["invoices 30kg 退款", "good"]
    found = PieceSource(source).features(texts, (-1, 0))
    assert PieceSource(source).read(texts).tolist() == [5, 1]
    assert found.shape == (6, 2 * backbone.width)
    with source.states(texts, -1) as states, source.states(texts, 0) as lowest:
        top, low = states.read([0, 1]), lowest.read([0, 1])
    marks = source.marks(texts)
    places = [at for at, n in enumerate(marks[0].tolist()) if n]
    assert len(places) == 5
    np.testing.assert_array_equal(found[:5, : backbone.width], top[0][places])
    np.testing.assert_array_equal(found[5, backbone.width :], low[1][1])


def test_rows_are_unrolled_and_rolled_up_again():
    truth = np.array([[0, 1, 2], [3, NO_PIECE, NO_PIECE], [1, 1, NO_PIECE]], np.int64)
    read = np.array([2, 1, 2])
    flat = Unrolled.of(truth, read)
    assert flat.labels.tolist() == [0, 1, 3, 1, 1]
    logits = np.arange(20, dtype=np.float32).reshape(5, 4) + 1
    back = flat.rolled(logits)
    assert back.shape == (3, 3, 4)
    np.testing.assert_array_equal(back[0, :2], logits[:2])
    assert not back[0, 2].any()
    few = Unrolled.of(truth, read, most=3)
    assert few.read.sum() <= 3
    assert len(few.rows) in (1, 2)
    again = few.rolled(logits[: few.read.sum()])
    assert np.isnan(again[[r for r in range(3) if r not in few.rows]]).all()
    assert unrolled.MOST > 10_000


def test_padding_and_neighbours_do_not_change_a_rows_answers(tuner, backbone):
    candidate = Candidate(backbone.name, backbone.sha256, "full", {"epochs": 1}, 0)
    fitted = tuner(candidate, TRAIN, HELD, silent)
    model, tokenizer = load(fitted.folder), load_tokenizer(fitted.folder)
    alone = Tokens(*_with_pad(tokenise_by_piece(tokenizer, HELD.texts[:1])))
    among = Tokens(*_with_pad(tokenise_by_piece(tokenizer, [HELD.texts[0], "good " * 20])))
    with torch.no_grad():
        one, two = model(*alone.batch(np.array([0]))), model(*among.batch(np.array([0, 1])))
    torch.testing.assert_close(two[0, : one.shape[1]], one[0], atol=1e-5, rtol=1e-5)
    assert not two[0, one.shape[1] :].any()


def test_the_exported_graph_answers_as_the_model_does(tuner, backbone, tmp_path: Path):
    import onnxruntime as ort

    candidate = Candidate(backbone.name, backbone.sha256, "head", SETTINGS["head"], 0)
    fitted = tuner(candidate, TRAIN, HELD, silent)
    to_onnx(fitted.folder, "token_classification", tmp_path / "model.onnx")
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert len(session.get_outputs()[0].shape) == 3
    model, tokenizer = load(fitted.folder), load_tokenizer(fitted.folder)
    tokenizer.enable_truncation(CUT)
    tokens = Tokens(*_with_pad(tokenise_by_piece(tokenizer, HELD.texts)))
    for rows in ([0], [1, 2, len(HELD) - 1]):
        ids, mask = tokens.batch(np.array(rows))
        (found,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, model(ids, mask).numpy(), atol=1e-4)


def test_consistency_counts_pieces_and_mixup_refuses_them():
    from sartor.core.errors import SettingError
    from sartor.tasks.token_classification.train import TokenClassification as Trainer
    from sartor.tune.regularise.consistency import RDrop, divergence
    from sartor.tune.regularise.mixup import Mixup

    torch.manual_seed(0)
    passes = torch.randn(2, 2, 4, 3)
    passes[:, 0, 2:] = passes[:, 1, 1:] = 0
    truth, ones = torch.tensor([[0, 1], [2, NO_PIECE]]), torch.ones(3)

    def base(logits, labels):
        return Trainer().loss(logits, labels, ones, 0.0)

    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.left = torch.nn.Dropout(0.5), list(passes)

        def forward(self):
            return self.left.pop(0)

    found = RDrop(base, 2.0).loss(Twice().train(), (), truth)
    read = [torch.stack([p[0, 0], p[0, 1], p[1, 0]]) for p in passes]
    wanted = sum(base(p, truth) for p in passes) / 2 + 2.0 * divergence(*read)
    torch.testing.assert_close(found, wanted)
    with pytest.raises(SettingError, match="do not stand beside one another"):
        Mixup(base, 0.2).loss(Twice(), (), truth)


@pytest.mark.parametrize("method", ["full", "top_layers"])
def test_what_is_descended_on_begins_with_the_frozen_head(tuner, backbone, method):
    def answers(name: str, **settings):
        candidate = Candidate(backbone.name, backbone.sha256, name, settings, 0)
        return tuner(candidate, TRAIN, HELD, silent).validation_logits

    still = {"lr": 1e-9, "head_lr": 1e-9, "epochs": 1, "max_steps": 1}
    head = answers("head", C=0.1, layers=[-1])
    np.testing.assert_allclose(answers(method, **still), head, atol=0.05)
    drawn = answers(method, **still, focal=1.0)
    assert np.abs(drawn - head).max() > 0.5, "in closed form there is no focal loss to begin with"
