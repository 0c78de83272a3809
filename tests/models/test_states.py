"""Token states: exact, cached under their layer, never more than the bound."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sartor.core.activations import Activations
from sartor.core.errors import SettingError
from sartor.core.events import Note, StageDone, StageProgress
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.loading import load_text_backbone
from sartor.models.precision import Precision
from sartor.models.variants import first_layers, random_twin

FP32 = Precision("float32")
TEXTS = [
    "the product is very good",
    "refund please",
    "这个东西太差了",
    "",
    "the product is very good",
    "late and broken and awful and bad, my money back please",
]


def encoder(backbone, folder: Path | None = None, *, room: int = 1 << 30, emit=None, **settings):
    caches = (None, None)
    if folder is not None:
        caches = Activations(folder / "pooled"), Activations(folder / "states", max_bytes=room)
    return TextEncoder(
        backbone,
        caches[0],
        states_cache=caches[1],
        precision=FP32,
        settings=EncodeSettings(**settings),
        emit=emit or (lambda event: None),
    )


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_states_are_the_layers_hidden_states_of_real_tokens_only(tiny, tmp_path, layer):
    model, tokenizer = load_text_backbone(tiny)
    with encoder(tiny, tmp_path).states(TEXTS, layer) as found:
        assert len(found) == len(TEXTS)
        for i, text in enumerate(TEXTS):
            ids = torch.tensor([tokenizer.encode(text).ids])
            with torch.inference_mode():
                answer = model(input_ids=ids, output_hidden_states=True)
            (mine,) = found.read([i])
            assert mine.dtype == np.float16
            assert len(mine) == found.lengths()[i] == ids.shape[1]
            np.testing.assert_allclose(mine, answer.hidden_states[layer][0], atol=2e-3)


def test_states_computed_cached_or_read_from_the_top_are_the_same_bits(tiny, tmp_path):
    with encoder(tiny, tmp_path).states(TEXTS, 1) as found:
        computed = found.read(range(6))
        assert found.cached.all()
        assert all(isinstance(one.base, np.memmap) for one in computed)
    with encoder(tiny, tmp_path).states(TEXTS[::-1], -2) as found:
        assert_same(found.read(range(6))[::-1], computed)
    with encoder(tiny).states(TEXTS, 1) as found:
        assert not found.cached.any()
        assert_same(found.read([5, 0, 0]), [computed[5], computed[0], computed[0]])


def test_one_pass_leaves_the_pooled_activations_of_every_layer_too(tiny, tmp_path):
    events = []
    watched = encoder(tiny, tmp_path, emit=events.append)
    watched.states(TEXTS, 1).close()
    assert len([e for e in events if isinstance(e, StageDone)]) == 1
    events.clear()

    np.testing.assert_array_equal(watched.encode(TEXTS), encoder(tiny).encode(TEXTS))

    assert events == []


def test_states_that_are_read_later_come_from_the_pass_that_is_made_anyway(tiny, tmp_path):
    events = []
    watched = encoder(tiny, tmp_path, emit=events.append)
    watched.encode(TEXTS[:2])
    watched.keep_beside(1)
    np.testing.assert_array_equal(watched.encode(TEXTS), encoder(tiny).encode(TEXTS))
    events.clear()
    with watched.states(TEXTS, 1) as found:
        assert_same(found.read(range(6)), encoder(tiny).states(TEXTS, 1).read(range(6)))
    done = [e.summary for e in events if isinstance(e, StageDone)]
    assert len(done) == 1, "the texts that had been encoded before"
    assert done[0].startswith("2 texts"), done


def test_only_texts_without_states_are_encoded(tiny, tmp_path):
    events = []
    watched = encoder(tiny, tmp_path, emit=events.append)
    watched.encode(TEXTS)
    watched.states(TEXTS[:2], 1).close()
    events.clear()
    with watched.states(TEXTS, 1) as found:
        assert_same(found.read(range(6)), encoder(tiny).states(TEXTS, 1).read(range(6)))
    assert [e.total for e in events if isinstance(e, StageProgress)][-1] == 3
    events.clear()
    watched.states(TEXTS, 1).close()
    assert events == []


def test_what_the_bound_leaves_out_is_computed_again_and_a_note_says_how_much(tiny, tmp_path):
    events = []
    many = [f"the {i} price is {'very ' * (i % 11)} good" for i in range(40)]
    small = encoder(tiny, tmp_path, room=40_000, emit=events.append, chunk=8)

    with small.states(many, 1) as found:
        inside = int(found.cached.sum())
        assert_same(found.read(range(40)), encoder(tiny).states(many, 1).read(range(40)))
        np.testing.assert_array_equal(found.lengths(), encoder(tiny).states(many, 1).lengths())

    assert 0 < inside < 40
    assert Activations(tmp_path / "states").size() <= 40_000
    (note,) = [e for e in events if isinstance(e, Note)]
    assert f"{inside} of 40 texts" in note.text


def test_states_in_use_are_not_evicted_by_those_of_other_texts(tiny, tmp_path):
    many = [f"the {i} price is {'very ' * (i % 11)} good" for i in range(40)]
    small = encoder(tiny, tmp_path, room=40_000, chunk=8)
    with small.states(many[:20], 1) as first, small.states(many[20:], 1) as second:
        assert first.cached.all()
        assert not second.cached.all()
        assert_same(second.read(range(20)), encoder(tiny).states(many[20:], 1).read(range(20)))


def test_what_was_computed_before_an_interruption_is_kept(tiny, tmp_path):
    def interrupt(event):
        if isinstance(event, StageProgress) and event.done >= 10:
            raise KeyboardInterrupt

    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        encoder(tiny, tmp_path, emit=interrupt, batch_tokens=32).states(
            [f"price {i} is {'very ' * (i % 9)} good" for i in range(60)], 1
        )
    assert torch.get_num_threads() == threads
    assert Activations(tmp_path / "states").size() > 0


def test_a_layer_that_does_not_exist_is_named(tiny):
    with pytest.raises(SettingError, match="no layer 3"):
        encoder(tiny).states(TEXTS, 3)


@pytest.mark.parametrize("variant", [lambda b: b, lambda b: first_layers(b, 1), random_twin])
def test_their_mean_is_the_pooled_activation_for_every_kind_of_backbone(tiny, tmp_path, variant):
    backbone = variant(tiny, 3) if variant is random_twin else variant(tiny)
    source = encoder(backbone, tmp_path)
    pooled = source.encode(TEXTS)
    with source.states(TEXTS, 1) as found:
        means = [one.mean(0, dtype=np.float32) for one in found.read(range(len(TEXTS)))]
    np.testing.assert_allclose(means, pooled[:, 1], atol=2e-3)


def test_states_of_several_layers_come_from_one_pass_and_are_those_of_each_alone(tiny, tmp_path):
    events = []
    watched = encoder(tiny, tmp_path, emit=events.append)
    watched.keep_states(TEXTS, (-1, 1))
    assert len([e for e in events if isinstance(e, StageDone)]) == 1
    events.clear()
    for layer in (1, -1):
        with watched.states(TEXTS, layer) as found:
            assert found.cached.all()
            assert_same(found.read(range(6)), encoder(tiny).states(TEXTS, layer).read(range(6)))
    watched.keep_states(TEXTS, (1, 2))
    assert events == [], "encoded twice"


def test_a_layer_that_some_texts_have_is_kept_once(tiny, tmp_path):
    watched = encoder(tiny, tmp_path)
    watched.states(TEXTS[:2], 1).close()
    watched.keep_states(TEXTS, (1, 2))
    for layer in (1, 2):
        with watched.states(TEXTS, layer) as found:
            assert found.cached.all()
            assert_same(found.read(range(6)), encoder(tiny).states(TEXTS, layer).read(range(6)))
