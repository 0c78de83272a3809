"""`Tuner`: every method ends in a folder that holds what its logits say."""

import fcntl
import json
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sartor.core.errors import DataError, SettingError, UnknownName
from sartor.core.events import Note, StageProgress, silent
from sartor.core.protocols import Fitted
from sartor.core.types import Backbone, Candidate, Examples
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.loading import load_text_backbone
from sartor.models.precision import Precision
from sartor.models.states import TokenStates
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.text_classification.train import load
from sartor.tune.batching import Tokens
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.loop import log_loss, score
from tests.tune.killed import reviews, tiny_backbone

OUTPUTS = ["great", "other"]
FITS: dict[str, dict[str, Any]] = {
    "head": {"layers": [1, -1], "C": 0.1},
    "hidden head": {"layers": [1, -1], "hidden": 16, "C": 1.0, "hidden_lr": 1e-2},
    "lora": {"epochs": 4, "lr": 1e-2, "batch_rows": 16},
    "top_layers": {"top": 1, "epochs": 6, "lr": 1e-2, "head_lr": 1e-2, "batch_rows": 16},
    "contrastive": {"epochs": 6, "lr": 3e-3, "batch_rows": 16},
    "full": {"epochs": 4, "lr": 3e-3, "head_lr": 3e-3, "batch_rows": 16, "layers": [1]},
}


class Activations:
    """Hidden states, straight from the backbone: what the cached encoder gives."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone, self.max_length = backbone, 64

    def features(self, texts: Any, layers: Any) -> Any:
        encoder, tokenizer = load_text_backbone(self.backbone)
        tokenizer.enable_truncation(64)
        model = TextClassifier(encoder, 2, layers).eval()
        model.head = torch.nn.Identity()
        return score(model, Tokens([e.ids for e in tokenizer.encode_batch(list(texts))], 0))

    def states(self, texts: Any, layer: int, separator: int | None = None) -> TokenStates:
        settings = EncodeSettings(max_length=64)
        encoder = TextEncoder(self.backbone, None, precision=Precision(), settings=settings)
        return encoder.states(texts, layer, separator)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny")


@pytest.fixture
def tuner(backbone: Backbone, tmp_path: Path) -> Tuner:
    options = TuneOptions(max_length=64, scored_train_rows=20)
    return Tuner({"tiny": backbone}, Activations, tmp_path / "work", OUTPUTS, options)


def _candidate(method: str, settings: dict[str, Any]) -> Candidate:
    return Candidate("tiny", "0" * 64, method, settings, seed=1)


TRAIN, HELD = reviews(160, 1), reviews(60, 2)


def _logits_of(fitted: Fitted, examples: Examples, backbone: Backbone) -> np.ndarray:
    _, tokenizer = load_text_backbone(backbone)
    tokenizer.enable_truncation(64)
    ids = [e.ids for e in tokenizer.encode_batch(list(examples.inputs["text"]))]
    return score(load(fitted.folder), Tokens(ids, 0))


@pytest.mark.parametrize("method", FITS)
def test_a_fit_learns_and_its_folder_gives_its_logits(
    tuner: Tuner, backbone: Backbone, method: str
):
    fitted = tuner(_candidate(method.split()[-1], FITS[method]), TRAIN, HELD, silent)

    truth = np.array([OUTPUTS.index(label) for label in HELD.target])
    rate = float(np.mean(truth))
    ignorant = -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    assert log_loss(fitted.validation_logits, truth) < 0.9 * ignorant
    # What reads token states is scored on them: rounded to float16.
    near = 5e-3 if method.endswith("top_layers") else 1e-4
    np.testing.assert_allclose(
        _logits_of(fitted, HELD, backbone), fitted.validation_logits, atol=near
    )
    assert fitted.train_logits.shape == (160, 2)
    scored = np.isfinite(fitted.train_logits).all(1)
    assert scored.sum() == (160 if method.endswith("head") else 20)
    text = json.loads((fitted.folder / "text.json").read_text())
    assert text == {"max_length": 64, "outputs": OUTPUTS, "prefix": ""}


def test_the_last_weights_owe_held_out_rows_nothing(tuner: Tuner):
    last = _candidate("full", {**FITS["full"], "kept": "last"})
    best = _candidate("full", FITS["full"])
    other = reviews(30, 3)

    one, same = (tuner(last, TRAIN, held, silent) for held in (HELD, other))

    assert tuner.closed(last)
    assert not tuner.closed(best)
    assert tuner.closed(_candidate("contrastive", {}))
    weights = [(f.folder / "model.safetensors").read_bytes() for f in (one, same)]
    assert weights[0] == weights[1]
    assert [line["step"] for line in one.history] == [40], "told once, at the end"


def test_what_a_fold_answers_is_kept_and_its_model_is_not(tuner: Tuner):
    candidate = _candidate("contrastive", {"max_steps": 3, "epochs": 1})
    events: list[object] = []

    found = tuner.answers(candidate, TRAIN, HELD, silent)
    again = tuner.answers(candidate, TRAIN, HELD, events.append)

    assert found is not None
    assert again is not None
    assert found.shape == (60, 2)
    assert again.tobytes() == found.tobytes()
    assert not events, "it was not fitted again"
    assert not list(tuner.work.rglob("model.safetensors"))


def test_who_waits_for_what_a_fold_answers_finds_it_and_no_folder_that_goes(
    tuner: Tuner, monkeypatch: pytest.MonkeyPatch
):
    candidate = _candidate("contrastive", {"max_steps": 3, "epochs": 1})
    events: list[object] = []
    waits, done = threading.Event(), threading.Event()
    copy, lock = shutil.copyfile, fcntl.flock
    with ThreadPoolExecutor(1, "second") as pool:
        seconds: list[Future[Any]] = []

        def is_second() -> bool:
            return threading.current_thread().name.startswith("second")

        def copied(source: Any, to: Any) -> Any:
            # The second one comes when the first is about to keep the answers and drop the model.
            if is_second():
                done.wait(60)
            else:
                seconds.append(pool.submit(tuner.answers, candidate, TRAIN, HELD, events.append))
                waits.wait(60)
            return copy(source, to)

        def asked(handle: Any, how: int) -> None:
            if is_second():
                waits.set()
            lock(handle, how)

        monkeypatch.setattr(shutil, "copyfile", copied)
        monkeypatch.setattr(fcntl, "flock", asked)
        first = tuner.answers(candidate, TRAIN, HELD, silent)
        done.set()
        (second,) = (each.result() for each in seconds)

    assert first is not None
    assert second.tobytes() == first.tobytes()
    assert not events, "it was not fitted again"


def test_a_head_that_is_solved_at_the_end_can_choose_no_best_weights(tuner: Tuner):
    with pytest.raises(SettingError, match="solved when the encoder is tuned"):
        tuner(_candidate("contrastive", {"kept": "best"}), TRAIN, HELD, silent)


def test_asking_again_trains_nothing_and_gives_the_same(tuner: Tuner):
    candidate = _candidate("full", FITS["full"])
    first = tuner(candidate, TRAIN, HELD, silent)
    events: list[object] = []

    again = tuner(candidate, TRAIN, HELD, events.append)

    assert not [e for e in events if isinstance(e, StageProgress)]
    assert again.folder == first.folder
    assert again.validation_logits.tobytes() == first.validation_logits.tobytes()
    assert again.seconds == first.seconds


def test_a_damaged_result_is_noticed_and_fitted_again(tuner: Tuner):
    candidate = _candidate("head", FITS["head"])
    first = tuner(candidate, TRAIN, HELD, silent)
    weights = first.folder / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    notes: list[Note] = []

    tuner(candidate, TRAIN, HELD, lambda event: notes.append(event))

    assert "model.safetensors does not have the SHA-256" in notes[0].text
    assert weights.read_bytes() == before


def test_heads_fitted_together_are_those_fitted_alone(tuner: Tuner):
    candidates = [
        _candidate("head", {"layers": layers, "C": c}) for layers in ([0], [2]) for c in (1.0, 0.01)
    ]

    together = tuner.heads(candidates, TRAIN, HELD)

    for candidate, fit in zip(candidates, together, strict=True):
        alone = tuner(candidate, TRAIN, HELD, silent)
        np.testing.assert_allclose(alone.validation_logits, fit.validation_logits, atol=2e-3)


def test_the_key_follows_rows_settings_and_seed_but_not_the_deadline(tuner: Tuner):
    candidate = _candidate("full", FITS["full"])
    key = tuner.key(candidate, TRAIN, HELD)

    assert key == tuner.key(candidate, TRAIN, HELD)
    assert key != tuner.key(replace(candidate, seed=2), TRAIN, HELD)
    assert key != tuner.key(replace(candidate, settings={}), TRAIN, HELD)
    assert key != tuner.key(candidate, TRAIN.take(range(159)), HELD)
    tuner.options = replace(tuner.options, deadline=1.0)
    assert key == tuner.key(candidate, TRAIN, HELD)


def test_class_weights_lean_towards_the_rare_class(tuner: Tuner):
    rare = [i for i, label in enumerate(TRAIN.target) if label == "great"][:12]
    common = [i for i, label in enumerate(TRAIN.target) if label == "other"]
    skewed = TRAIN.take([*rare, *common])
    answers = [
        tuner.heads([_candidate("head", {"class_weight": weight})], skewed, HELD)[0]
        for weight in ("none", "sqrt", "balanced")
    ]

    leaning = [float(np.diff(fit.validation_logits).mean()) for fit in answers]
    assert leaning[0] > leaning[1] > leaning[2], "towards `great`, the rare class"


def test_the_saved_model_does_not_tell_where_its_backbone_lay(tuner: Tuner, backbone: Backbone):
    fitted = tuner(_candidate("head", {}), TRAIN, HELD, silent)

    for name in ("config.json", "classifier.json", "text.json"):
        assert backbone.path not in (fitted.folder / name).read_text()


def test_an_encoder_that_cuts_elsewhere_is_refused(tuner: Tuner):
    tuner.options = replace(tuner.options, max_length=32)

    with pytest.raises(SettingError, match="cuts texts at 64 tokens, the tuner at 32"):
        tuner(_candidate("head", {}), TRAIN, HELD, silent)


def test_a_text_with_a_lone_surrogate_is_trained_on(tuner: Tuner):
    odd = replace(TRAIN, inputs={"text": ("good \ud800 thing", *TRAIN.inputs["text"][1:])})

    fitted = tuner(_candidate("full", {"epochs": 1}), odd, HELD, silent)

    assert np.isfinite(fitted.validation_logits).all()


def test_an_unknown_label_names_the_near_miss(tuner: Tuner):
    wrong = replace(TRAIN, target=("graet", *TRAIN.target[1:]))

    with pytest.raises(DataError, match=r"'graet'.*\n.*did you mean 'great'"):
        tuner(_candidate("head", {}), wrong, HELD, silent)


@pytest.mark.parametrize(
    ("method", "settings", "error", "message"),
    [
        ("lroa", {}, UnknownName, "did you mean 'lora'"),
        ("lora", {"rnk": 4}, SettingError, "did you mean 'rank'"),
        ("lora", {"rank": 0}, SettingError, "rank=0 cannot be"),
        ("head", {"epochs": 3}, SettingError, "method 'head' has no setting 'epochs'"),
        ("head", {"layers": [3]}, SettingError, r"layers=\[3\] but .* 0 to 2"),
        ("full", {"layers": []}, SettingError, r"layers=\[\] cannot be"),
        ("full", {"dropout": 1.0}, SettingError, "dropout=1.0 cannot be"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_training(
    tuner: Tuner, method: str, settings: dict[str, Any], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        tuner(_candidate(method, settings), TRAIN, HELD, silent)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("layers", [(-1,), (1,), (0, 2)])
def test_the_model_exports_to_onnx_with_free_batch_and_length(
    backbone: Backbone, tmp_path: Path, layers: tuple[int, ...]
):
    import onnxruntime

    from sartor.tasks.text_classification.train import TextClassification

    encoder, _ = load_text_backbone(backbone)
    model = TextClassification(layers=layers).build(encoder, 3).eval()

    def batch(rows: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        mask = torch.ones(rows, width, dtype=torch.long)
        mask[0, width // 2 :] = 0
        return torch.randint(5, 40, (rows, width)), mask

    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    program = torch.onnx.export(
        model,
        batch(2, 7),
        dynamo=True,
        dynamic_shapes=(free, free),
        input_names=["input_ids", "attention_mask"],
        verbose=False,
    )
    program.save(str(tmp_path / "model.onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")

    for rows, width in ((1, 5), (4, 19)):
        ids, mask = batch(rows, width)
        found = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
        with torch.no_grad():
            expected = model(ids, mask).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)
