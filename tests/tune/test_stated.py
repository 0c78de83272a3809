"""Fits that read cached states: one encoding, the same result whatever the cache holds."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sartor.core.activations import Activations
from sartor.core.errors import NothingToTune, SettingError
from sartor.core.events import Event, Note, StageDone, StageProgress
from sartor.core.types import Backbone, Candidate, Examples
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.loading import load_text_backbone
from sartor.models.precision import Precision
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.text_classification.train import load
from sartor.tune.batching import Tokens
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.loop import score
from sartor.tune.methods.full import Full
from sartor.tune.methods.top_layers import TopLayers
from sartor.tune.stated import SomeStates, States, share_read
from tests.tune.killed import hashes, reviews, tiny_backbone

OUTPUTS = ["great", "other"]
SETTINGS = {"top": 1, "epochs": 3, "lr": 1e-2, "head_lr": 1e-2, "batch_rows": 16}
TRAIN, HELD = reviews(96, 1), reviews(40, 2)

on_a_cpu = pytest.mark.skipif(
    torch.cuda.is_available(), reason="a GPU adds in an order of its own: no bytes are promised"
)


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    return tiny_backbone(tmp_path / "tiny")


class Stopped(Exception):
    """What a kill looks like from inside."""


def encoder(backbone: Backbone, cache: Path | None, room: int = 1 << 30, emit=None) -> TextEncoder:
    return TextEncoder(
        backbone,
        None,
        states_cache=None if cache is None else Activations(cache, max_bytes=room),
        precision=Precision(),
        settings=EncodeSettings(max_length=64, chunk=8),
        emit=emit or (lambda event: None),
    )


def long(rows: Examples) -> Examples:
    """The rows with texts of some fifty tokens, of which a step reads a half."""
    return replace(rows, inputs={"text": tuple(f"{text} " * 6 for text in rows.texts)})


def fit(source: TextEncoder, work: Path, emit=None, rows=(TRAIN, HELD), **settings):
    options = TuneOptions(max_length=64, checkpoint_steps=2)
    tuner = Tuner({"tiny": source.backbone}, lambda _: source, work, OUTPUTS, options)
    candidate = Candidate("tiny", "0" * 64, "top_layers", {**SETTINGS, **settings}, seed=1)
    return tuner(candidate, *rows, emit or (lambda event: None))


def test_each_text_is_encoded_once_for_all_epochs_settings_and_runs(backbone, tmp_path):
    events: list[Event] = []
    source = encoder(backbone, tmp_path / "cache", emit=events.append)

    fit(source, tmp_path / "a")
    fit(source, tmp_path / "b", lr=3e-3)
    fit(encoder(backbone, tmp_path / "cache", emit=events.append), tmp_path / "c")

    encoded = [e.total for e in events if isinstance(e, StageProgress) and e.done == e.total]
    distinct = {*TRAIN.inputs["text"], *HELD.inputs["text"]}
    assert sum(encoded) == len(distinct)
    assert len([e for e in events if isinstance(e, StageDone)]) == 2


def test_only_the_upper_layer_and_the_head_have_moved(backbone, tmp_path):
    tuned = load(fit(encoder(backbone, tmp_path / "cache"), tmp_path / "work").folder)
    fresh = TextClassifier(load_text_backbone(backbone)[0], 2, [2])
    for name, tensor in tuned.named_parameters():
        if not name.startswith("head."):
            moved = not torch.equal(tensor, fresh.get_parameter(name))
            assert moved is (".layer.1." in name), name


@on_a_cpu
def test_the_result_has_the_same_bytes_whatever_the_cache_has_room_for(backbone, tmp_path):
    notes: list[Event] = []
    roomy = fit(encoder(backbone, tmp_path / "roomy"), tmp_path / "a")
    small = encoder(backbone, tmp_path / "small", 60_000, notes.append)
    tight = fit(small, tmp_path / "b")
    none = fit(encoder(backbone, None), tmp_path / "c")

    assert hashes(tight.folder) == hashes(roomy.folder) == hashes(none.folder)
    assert any("encoded again in every epoch" in e.text for e in notes if isinstance(e, Note))


@on_a_cpu
@pytest.mark.parametrize("form", [lambda rows: rows, long], ids=["short", "long"])
def test_a_fit_that_was_stopped_ends_with_the_bytes_of_one_that_was_not(form, backbone, tmp_path):
    rows = form(TRAIN), form(HELD)
    straight = fit(encoder(backbone, tmp_path / "cache"), tmp_path / "a", rows=rows)

    def stop(event: Event) -> None:
        if isinstance(event, StageProgress) and event.stage == "tune" and event.done >= 7:
            raise Stopped

    with pytest.raises(Stopped):
        fit(encoder(backbone, tmp_path / "cache"), tmp_path / "b", emit=stop, rows=rows)
    notes: list[Event] = []
    # Meanwhile the cache was lost.
    resumed = fit(encoder(backbone, None), tmp_path / "b", emit=notes.append, rows=rows)

    assert any("Resuming at step 6" in e.text for e in notes if isinstance(e, Note))
    assert hashes(resumed.folder) == hashes(straight.folder)
    assert list(resumed.history) == list(straight.history)


def test_what_training_watched_is_what_the_whole_model_answers(backbone, tmp_path):
    """Validation scored through float16 states, and from token ids in float32, agree."""
    fitted = fit(encoder(backbone, tmp_path / "cache"), tmp_path / "work")
    truth = np.array([OUTPUTS.index(label) for label in HELD.target])
    wide = fitted.validation_logits.astype(np.float64)
    loss = np.log(np.exp(wide).sum(1)) - wide[np.arange(len(truth)), truth]
    watched = min(one["validation_log_loss"] for one in fitted.history)
    assert loss.mean() == pytest.approx(watched, abs=2e-3)


def test_rows_read_from_states_are_padded_float32_with_their_mask(backbone, tmp_path):
    texts = ["the product is good", "bad", "i love it very much thanks"]
    with encoder(backbone, tmp_path / "cache").states(texts, 1) as found:
        rows = States(found)
        states, mask = rows.batch(np.array([2, 1]))
        lengths = rows.lengths()
        raw = found.read([2, 1])
    assert states.dtype == torch.float32
    assert states.shape == (2, 16, 32)
    assert mask.sum(1).tolist() == lengths[[2, 1]].tolist()
    for i, one in enumerate(raw):
        np.testing.assert_array_equal(states[i, : len(one)].numpy(), one.astype(np.float32))
        assert not states[i, len(one) :].any()


def test_a_step_reads_half_of_a_long_text_anew_each_time_and_short_ones_whole(backbone, tmp_path):
    texts = ["good " * 40, "bad"]
    with encoder(backbone, tmp_path / "cache").states(texts, 1) as found:
        rows = States(found)
        some = SomeStates(rows, 0.5)
        whole, _ = rows.batch(np.array([0, 1]))
        (first, mask), (second, _) = some.batch(np.array([0, 1])), some.batch(np.array([0, 1]))
        lengths = rows.lengths()
    assert mask.sum(1).tolist() == [math.ceil(lengths[0] / 2), lengths[1]]
    assert some.lengths().tolist() == lengths.tolist(), "as many steps as with all tokens"
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1, : lengths[1]], whole[1, : lengths[1]])
    places = [int((whole[0] == token).all(1).nonzero()[0]) for token in first[0, : mask[0].sum()]]
    assert places == sorted(set(places)), "each once, in the order of the text"


def test_half_of_the_tokens_is_the_default_and_what_trained_on_them_answers_of_all(
    backbone, tmp_path
):
    rows, source = (long(TRAIN), long(HELD)), encoder(backbone, tmp_path / "cache")
    plain = fit(source, tmp_path / "a", rows=rows)
    assert hashes(plain.folder) == hashes(
        fit(source, tmp_path / "b", rows=rows, token_share=0.5).folder
    )
    whole = fit(source, tmp_path / "c", rows=rows, token_share=1.0)
    assert hashes(whole.folder) != hashes(plain.folder)
    _, tokenizer = load_text_backbone(backbone)
    tokenizer.enable_truncation(64)
    tokens = Tokens([e.ids for e in tokenizer.encode_batch(list(rows[1].texts))], 0)
    answered = score(load(plain.folder), tokens)
    np.testing.assert_allclose(plain.validation_logits, answered, atol=2e-2)
    right = np.array([OUTPUTS.index(label) for label in rows[1].target])
    assert (answered.argmax(1) == right).mean() > 0.7


@pytest.mark.parametrize(("asked", "read"), [(None, 1.0), (1.0, 1.0)])
def test_where_each_token_counts_all_are_read(asked, read):
    assert share_read(TopLayers(token_share=asked), whole=True) == read
    with pytest.raises(SettingError, match=r"token_share=0\.5, but each token counts here"):
        share_read(TopLayers(token_share=0.5), whole=True)
    assert share_read(TopLayers(), whole=False) == 0.5
    assert share_read(Full(), whole=False) == 1.0


def test_states_and_tokens_of_a_tuned_model_agree_up_to_the_caches_rounding(backbone, tmp_path):
    from sartor.tune.upper import Upper

    source = encoder(backbone, tmp_path / "cache")
    model = load(fit(source, tmp_path / "work").folder)
    _, tokenizer = load_text_backbone(backbone)
    tokenizer.enable_truncation(64)
    texts = HELD.inputs["text"]
    whole = score(model, Tokens([e.ids for e in tokenizer.encode_batch(list(texts))], 0))

    with source.states(texts, 1) as found:
        part = score(Upper(model, 1), States(found))

    np.testing.assert_allclose(part, whole, atol=2e-2)
    assert np.ptp(whole) > 1


def test_texts_cut_elsewhere_and_too_many_layers_are_refused(backbone, tmp_path):
    source = encoder(replace(backbone, max_length=32), None)
    options = TuneOptions(max_length=64)
    tuner = Tuner({"tiny": backbone}, lambda _: source, tmp_path / "work", OUTPUTS, options)
    candidate = Candidate("tiny", "0" * 64, "top_layers", SETTINGS, seed=1)
    with pytest.raises(SettingError, match="cuts texts at 32"):
        tuner(candidate, TRAIN, HELD, lambda event: None)
    with pytest.raises(NothingToTune, match="top=3"):
        fit(encoder(backbone, None), tmp_path / "other", top=3)
