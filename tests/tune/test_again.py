"""Training on from a saved model: the loss, the start, the key, and being killed."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import DataError, ModelError, NothingToTune, SettingError
from sartor.core.events import Note, StageProgress, silent
from sartor.core.protocols import Fitted
from sartor.core.types import Candidate, Examples
from sartor.models.loading import load_tokenizer
from sartor.tasks._encoder.added import install
from sartor.tasks._encoder.added.prompt import Prompt
from sartor.tasks._encoder.static import StaticClassifier
from sartor.tasks.text_classification.train import load
from sartor.tune import loop
from sartor.tune.again import Again
from sartor.tune.distillation import Distillation, Taught, divergence
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.rounding import rounded, seen_in_int8
from tests.tune.killed import NoFeatures, reviews, tiny_backbone

OUTPUTS = ["great", "other"]
TRAIN, HELD = reviews(96, 1), reviews(48, 2)
SETTINGS = {"epochs": 2, "lr": 2e-3, "head_lr": 2e-3, "batch_rows": 16}
TRUTH = np.array([OUTPUTS.index(label) for label in HELD.target])


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that learnt a little."""
    place = tmp_path_factory.mktemp("start")
    backbone = tiny_backbone(place / "tiny")
    options = TuneOptions(max_length=64)
    tuner = Tuner({"tiny": backbone}, lambda _: NoFeatures(), place / "work", OUTPUTS, options)
    candidate = Candidate("tiny", "0" * 64, "full", {**SETTINGS, "lr": 3e-3}, seed=1)
    return tuner(candidate, TRAIN, HELD, silent).folder


@pytest.fixture
def tuner(tmp_path: Path) -> Tuner:
    def no_source(backbone: object) -> Any:
        raise AssertionError("training on reads no backbone")

    options = TuneOptions(max_length=64, scored_train_rows=96)
    return Tuner({}, no_source, tmp_path / "work", OUTPUTS, options)


def again(start: Path, teacher: Any = None, **more: Any) -> Again:
    return Again(start, {**SETTINGS, **more}, seed=1, max_length=64, teacher=teacher)


def teacher_of(rows: Examples, *, sure: float = 2.0) -> np.ndarray:
    right = np.array([OUTPUTS.index(label) for label in rows.target])
    return np.where(right[:, None] == np.arange(2), sure, -sure).astype(np.float32)


def share_right(fitted: Fitted) -> float:
    return float((fitted.validation_logits.argmax(1) == TRUTH).mean())


def test_the_loss_is_the_one_computed_by_hand():
    logits = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    teacher = np.array([[0.5, 0.0], [3.0, 1.0]], np.float32)
    found = Taught(
        np.array([0, -1]),
        teacher,
        2,
        Distillation(temperature=2.0, teacher_share=0.25),
        torch.nn.functional.cross_entropy,
    )(logits, torch.tensor([0, 1]))

    def soft(z: list[float]) -> np.ndarray:
        e = np.exp(np.array(z) / 2)
        return e / e.sum()

    kl = [
        4 * float((p * np.log(p / q)).sum())
        for p, q in ((soft([0.5, 0.0]), soft([1, -1])), (soft([3, 1]), soft([0, 2])))
    ]
    own = np.log(1 + np.exp(-2))
    assert float(found) == pytest.approx((0.25 * kl[0] + kl[1]) / 2 + 0.75 * own / 2, abs=1e-6)


def test_the_loss_of_numbers_is_the_one_computed_by_hand():
    logits = torch.tensor([[1.0], [0.0], [4.0]])
    teacher = np.array([[2.0], [-1.0], [5.0]], np.float32)
    found = Taught(
        # A target of −1 is a number; a row without one is NaN.
        np.array([3.0, -1.0, np.nan], np.float32),
        teacher,
        1,
        Distillation(teacher_share=0.25),
        lambda z, y: ((z[:, 0] - y) ** 2).mean(),
    )(logits, torch.tensor([0, 1, 2]))
    apart = np.array([1.0, 1.0, 1.0]) / teacher.var()
    own = (4.0 + 1.0) / 2
    wanted = (0.25 * apart[0] + 0.25 * apart[1] + apart[2]) / 3 + 0.75 * 2 / 3 * own
    assert float(found) == pytest.approx(wanted, rel=1e-6)


@given(st.integers(0, 10_000), st.floats(0.5, 8), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_the_gradient_is_that_of_finite_differences(seed: int, temperature: float, share: float):
    draw = np.random.default_rng(seed)
    logits = torch.tensor(draw.normal(size=(5, 3)), dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor(draw.normal(size=(5, 3)), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        # In float64: the loss itself computes in float32, which differences cannot resolve.
        lambda z: (
            temperature**2
            * (
                (teacher / temperature).softmax(-1)
                * ((teacher / temperature).log_softmax(-1) - (z / temperature).log_softmax(-1))
            ).sum(-1)
        ),
        logits,
    )
    labels = draw.integers(-1, 3, 5)
    loss = Taught(
        labels,
        teacher.float().numpy(),
        3,
        Distillation(temperature, share),
        torch.nn.functional.cross_entropy,
    )
    narrow = logits.detach().float().requires_grad_()
    loss(narrow, torch.arange(5)).backward()
    # d/dz of T²·KL is T·(softmax(z/T) − softmax(t/T)); of cross-entropy softmax(z) − onehot.
    wanted = torch.zeros(5, 3, dtype=torch.float64)
    for i, label in enumerate(labels.tolist()):
        weight = share if label >= 0 else 1.0
        soft = (logits[i] / temperature).softmax(-1) - (teacher[i] / temperature).softmax(-1)
        wanted[i] = weight * temperature * soft.detach() / 5
        if label >= 0:
            hard = logits[i].softmax(-1).detach() - torch.nn.functional.one_hot(
                torch.tensor(label), 3
            )
            wanted[i] += (1 - share) * hard / 5
    torch.testing.assert_close(narrow.grad.double(), wanted, atol=1e-5, rtol=1e-4)


def test_what_the_head_reads_is_pulled_towards_the_teachers():
    draw = torch.Generator().manual_seed(0)
    told = torch.randn(6, 5, generator=draw)
    found = torch.randn(6, 5, generator=draw, requires_grad=True)
    rows, labels = torch.arange(6), np.full(6, -1)

    def loss(hidden: float) -> torch.Tensor:
        settings = Distillation(hidden=hidden)
        return Taught(labels, told.numpy(), 2, settings, torch.nn.functional.cross_entropy)(
            found, rows
        )

    unit = float(told[:, 2:].var(0, correction=0).mean())
    apart = float((found - told)[:, 2:].detach().pow(2).mean())
    assert (loss(3.0) - loss(0.0)).item() == pytest.approx(3 * apart / unit, rel=1e-4)
    (slope,) = torch.autograd.grad(loss(3.0), found)
    wanted = 3 * 2 * (found - told)[:, 2:].detach() / (18 * unit)
    torch.testing.assert_close(slope[:, 2:], wanted, rtol=1e-4, atol=1e-6)


def test_a_student_learns_what_the_teachers_head_reads(start: Path, tuner: Tuner):
    wanted = np.random.default_rng(0).normal(size=(96, 32)).astype(np.float32)
    told = np.concatenate([teacher_of(TRAIN), wanted], 1)
    more = {"epochs": 8, "patience": 99, "dropout": 0.0}
    apart = {}
    for hidden in (0.0, 5.0):
        fitted = tuner.again(again(start, told, hidden=hidden, **more), TRAIN, HELD, silent)
        model: Any = load(fitted.folder)
        ids, mask = tokens_of(fitted.folder, TRAIN)
        with torch.no_grad():
            found = model.features(ids, mask).numpy()
        apart[hidden] = float(((found - wanted) ** 2).mean())
    assert apart[5.0] < 0.9 * apart[0.0]
    with pytest.raises(SettingError, match="mixup"):
        tuner.again(again(start, told, mixup=0.2), TRAIN, HELD, silent)


def tokens_of(folder: Path, rows: Examples) -> tuple[torch.Tensor, torch.Tensor]:
    tokenizer = load_tokenizer(folder)
    tokenizer.enable_padding()
    found = tokenizer.encode_batch(list(rows.inputs["text"]))
    return torch.tensor([e.ids for e in found]), torch.tensor([e.attention_mask for e in found])


def test_a_student_that_answers_like_its_teacher_has_nothing_to_learn():
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert float(divergence(z, z + 7.0, 3.0).abs().max()) < 1e-5


def test_training_on_starts_from_the_saved_weights_and_leaves_them(start: Path, tuner: Tuner):
    before = (start / "model.safetensors").read_bytes()
    still = tuner.again(again(start, lr=1e-5, head_lr=1e-5, epochs=1), TRAIN, HELD, silent)
    moved = tuner.again(again(start, epochs=6), TRAIN, HELD, silent)

    assert (start / "model.safetensors").read_bytes() == before
    old = load(start).state_dict()
    near = load(still.folder).state_dict()
    assert all(torch.allclose(near[n], v, atol=1e-3) for n, v in old.items())
    far = load(moved.folder).state_dict()
    assert not any(torch.equal(far[n], v) for n, v in old.items() if v.ndim == 2)
    assert share_right(moved) >= share_right(still)


def test_rows_without_labels_learn_from_the_teacher_alone(start: Path, tuner: Tuner):
    bare = replace(TRAIN, target=())
    wrong = -teacher_of(TRAIN)
    fitted = tuner.again(again(start, teacher=wrong, epochs=8, patience=99), bare, HELD, silent)
    # The epoch is chosen by validation labels, so it is the training answers that tell.
    right = np.array([OUTPUTS.index(label) for label in TRAIN.target])
    taught = tuner.again(
        again(start, teacher=teacher_of(TRAIN), epochs=8, patience=99), bare, HELD, silent
    )
    good = float((taught.train_logits.argmax(1) == right).mean())
    assert good > float((fitted.train_logits.argmax(1) == right).mean())
    assert good > 0.8

    some = replace(TRAIN, target=(None, *TRAIN.target[1:]))
    assert tuner.again(again(start, teacher=teacher_of(TRAIN)), some, HELD, silent).cut is None
    with pytest.raises(DataError, match="1 of 96 training rows have no label"):
        tuner.again(again(start), some, HELD, silent)


def test_the_key_follows_start_teacher_settings_and_rows_but_not_the_place(
    start: Path, tuner: Tuner, tmp_path: Path
):
    import shutil

    base = again(start, teacher=teacher_of(TRAIN))
    copied = shutil.copytree(start, tmp_path / "elsewhere")
    assert again(copied, teacher=teacher_of(TRAIN)).key() == base.key()
    others = [
        again(start),
        again(start, teacher=teacher_of(TRAIN, sure=1.0)),
        again(start, teacher=teacher_of(TRAIN), temperature=3.0),
        replace(base, seed=2),
        replace(base, prefix="query: "),
    ]
    (copied / "classifier.json").write_text('{"layers": [1], "outputs": 2}')
    others.append(again(copied, teacher=teacher_of(TRAIN)))
    assert len({base.key(), *(other.key() for other in others)}) == 7

    first = tuner.again(base, TRAIN, HELD, silent)
    events: list[object] = []
    assert tuner.again(base, TRAIN, HELD, events.append).folder == first.folder
    assert not [e for e in events if isinstance(e, StageProgress)]
    fewer = TRAIN.take(range(90)), teacher_of(TRAIN)[:90]
    other = tuner.again(replace(base, teacher=fewer[1]), fewer[0], HELD, silent)
    assert other.folder != first.folder


class Stopped(Exception):
    pass


def test_a_killed_training_goes_on_to_the_bytes_of_one_that_was_not(
    start: Path, tuner: Tuner, tmp_path: Path
):
    wanted = tuner.again(again(start, teacher=teacher_of(TRAIN), int8=True), TRAIN, HELD, silent)
    options = replace(tuner.options, checkpoint_steps=2)
    other = Tuner({}, tuner.encoder_for, tmp_path / "other", OUTPUTS, options)

    def stop(event: object) -> None:
        if isinstance(event, StageProgress) and event.done >= 5:
            raise Stopped

    notes: list[str] = []
    lesson = again(start, teacher=teacher_of(TRAIN), int8=True)
    with pytest.raises(Stopped):
        other.again(lesson, TRAIN, HELD, stop)
    found = other.again(
        lesson, TRAIN, HELD, lambda e: notes.append(e.text) if isinstance(e, Note) else None
    )
    assert notes[0].startswith("Resuming at step 4")
    for name in ("model.safetensors", "logits.safetensors", "config.json", "classifier.json"):
        assert (found.folder / name).read_bytes() == (wanted.folder / name).read_bytes()


def test_the_deadline_cuts_it_and_more_time_goes_on(start: Path, tuner: Tuner):
    tuner.options = replace(tuner.options, deadline=0.0)
    cut = tuner.again(again(start), TRAIN, HELD, silent)
    assert cut.cut == 1
    tuner.options = replace(tuner.options, deadline=float("inf"))
    assert tuner.again(again(start), TRAIN, HELD, silent).cut is None


def test_one_that_could_not_end_in_time_ends_at_once(
    start: Path, tuner: Tuner, monkeypatch: pytest.MonkeyPatch
):
    clock = SimpleNamespace(now=0.0)

    def later() -> float:
        clock.now += 5.0  # asked before and after a step: each takes five seconds
        return clock.now

    told: list[str] = []

    def emit(event: object) -> None:
        if isinstance(event, Note):
            told.append(event.text)

    monkeypatch.setattr(loop.time, "perf_counter", later)
    monkeypatch.setattr(loop.time, "monotonic", lambda: 0.0)
    steps = 40 * 6
    lesson = again(start, epochs=40, patience=99)
    # Of the rest, 224 steps of five seconds, three quarters may be enough.
    tuner.options = replace(tuner.options, deadline=0.75 * (steps - 16) * 5)
    assert tuner.again(again(start), TRAIN, HELD, emit).cut is None, "twelve steps tell nothing"
    assert told == []
    tuner.options = replace(tuner.options, deadline=0.65 * (steps - 16) * 5)
    assert tuner.again(lesson, TRAIN, HELD, emit).cut == 16
    (note,) = told
    assert "would take about 19 minutes, and 12 are left" in note
    monkeypatch.undo()
    tuner.options = replace(tuner.options, deadline=float("inf"))
    resumed: list[str] = []
    whole = tuner.again(
        lesson, TRAIN, HELD, lambda e: resumed.append(e.text) if isinstance(e, Note) else None
    )
    assert whole.cut is None
    assert resumed == [f"Resuming at step 16 of {steps}."], "more time goes on from there"


def test_products_seen_in_int8_lie_on_its_steps_and_weights_stay_floats():
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.GELU())
    before = layer[0].weight.detach().clone()
    x = torch.randn(5, 16)
    with seen_in_int8(layer):
        steps = layer[0].weight / (before.abs().amax(1, keepdim=True) / 64)
        assert torch.allclose(steps, steps.round(), atol=1e-4)
        layer(x).sum().backward()
        (name,) = [n for n, p in layer.named_parameters() if p.ndim == 2]
        slope = layer.get_parameter(name).grad
    assert slope is not None
    assert float(slope.abs().sum()) > 0
    assert torch.equal(layer[0].weight, before)
    line = torch.linspace(-1, 2, 5000)
    assert len(torch.unique(rounded(line, line))) <= 256
    assert float(rounded(torch.zeros(1), line)) == 0.0


def static(folder: Path, start: Path) -> None:
    StaticClassifier(80, 2).save(folder)
    for name in ("tokenizer.json", "config.json"):
        (folder / name).write_bytes((start / name).read_bytes())


def prompted(folder: Path, start: Path) -> None:
    model: Any = load(start)
    install(model, Prompt(tokens=2))
    model.save(folder)
    (folder / "tokenizer.json").write_bytes((start / "tokenizer.json").read_bytes())


@pytest.mark.parametrize(
    ("make", "message"),
    [(static, "StaticClassifier"), (prompted, "Prompt")],
    ids=["static", "added"],
)
def test_models_that_are_not_trained_on_are_refused(
    make: Any, message: str, start: Path, tuner: Tuner, tmp_path: Path
):
    make(tmp_path / "odd", start)
    with pytest.raises(NothingToTune, match=message):
        tuner.again(again(tmp_path / "odd"), TRAIN, HELD, silent)


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"layers": [1]}, SettingError, "reads layers already"),
        ({"temperature": 2.0}, SettingError, "'temperature'"),
        ({"teacher": "t", "temperature": 0.0}, SettingError, "temperature=0.0 cannot be"),
        ({"teacher": "short"}, DataError, r"\(95, 2\)"),
        ({"teacher": "nan"}, DataError, "not finite"),
    ],
)
def test_what_cannot_work_is_refused(
    more: dict[str, Any], error: type[Exception], message: str, start: Path, tuner: Tuner
):
    answers = {"t": teacher_of(TRAIN), "short": teacher_of(TRAIN)[:95], "nan": teacher_of(TRAIN)}
    answers["nan"] = answers["nan"] * np.float32("nan")
    more = dict(more)
    teacher = answers[more.pop("teacher")] if "teacher" in more else None
    with pytest.raises(error, match=message):
        tuner.again(again(start, teacher, **more), TRAIN, HELD, silent)


def test_a_folder_without_a_model_is_named(tuner: Tuner, tmp_path: Path):
    with pytest.raises(ModelError, match="cannot be trained on"):
        tuner.again(again(tmp_path), TRAIN, HELD, silent)
