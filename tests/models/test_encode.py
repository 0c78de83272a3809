import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from sartor.core.activations import Activations
from sartor.core.errors import ModelError, SettingError
from sartor.core.events import StageDone, StageProgress, StageStarted
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.forward import Forward
from sartor.models.loading import load_encoder, load_text_backbone
from sartor.models.passes import Wanted, batches, lots
from sartor.models.precision import Precision, probe

FP32 = Precision("float32")
TEXTS = [
    "the product is very good",
    "refund please",
    "这个东西太差了",
    "i love it, thanks",
    "",
    "the product is very good",
    "late and broken and awful and bad, my money back please",
]


def encoder(backbone, cache=None, **settings):
    return TextEncoder(backbone, cache, precision=FP32, settings=EncodeSettings(**settings))


def test_activations_are_the_mean_over_real_tokens_of_every_hidden_state(tiny):
    model, tokenizer = load_text_backbone(tiny)
    found = encoder(tiny).encode(TEXTS)
    for text, row in zip(TEXTS, found, strict=True):
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.inference_mode():
            states = model(input_ids=ids, output_hidden_states=True).hidden_states
        expected = torch.stack([state[0].mean(0) for state in states]).numpy()
        np.testing.assert_allclose(row, expected, atol=2e-3)
    assert found.shape == (7, 3, 32)
    assert found.dtype == np.float32
    assert np.array_equal(found[0], found[5])
    assert not np.allclose(found[0], found[1], atol=0.05), "all texts alike: the test is vacuous"


def test_cached_and_computed_activations_are_the_same_bits(tiny, tmp_path):
    computed = encoder(tiny, Activations(tmp_path / "c")).encode(TEXTS)
    cached = encoder(tiny, Activations(tmp_path / "c")).encode(TEXTS[::-1])[::-1]
    np.testing.assert_array_equal(computed, cached)
    np.testing.assert_array_equal(computed, encoder(tiny).encode(TEXTS))


def test_a_texts_numbers_do_not_depend_on_the_texts_beside_it_or_on_the_threads(tiny):
    many = TEXTS + [f"the {i} product was {i} and the price is {i % 7}" for i in range(60)]
    together = encoder(tiny, batch_tokens=256).encode(many)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        apart = np.concatenate([encoder(tiny).encode([text]) for text in many[:12]])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(together[:12], apart)


def test_batches_that_a_gpu_computes_together_give_what_each_gives_alone(tiny):
    forward = Forward(load_encoder(tiny, tiny.layers), FP32)
    draw = np.random.default_rng(0)
    lot = [draw.integers(5, 90, shape) for shape in [(2, 3), (1, 4), (3, 9)]]
    wanted = Wanted(pooled=True, layers=(1, tiny.layers), separator=7)
    for ids, (pooled, states) in zip(lot, forward(lot, wanted), strict=True):
        ((alone, states_alone),) = forward([ids], wanted)
        np.testing.assert_allclose(pooled, alone, atol=1e-5)
        for found, expected in zip(states, states_alone, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_texts_come_in_their_order_where_batches_are_computed_together(tiny, monkeypatch):
    alone = encoder(tiny).encode(TEXTS)
    monkeypatch.setattr(Forward, "together", 24)
    np.testing.assert_allclose(encoder(tiny).encode(TEXTS), alone, atol=2e-3)


def test_a_lot_holds_neighbours_in_length_within_its_bound():
    lengths = np.random.default_rng(0).integers(1, 60, 400)
    groups = batches(lengths.tolist(), 100)
    found = lots(lengths, groups, 256)
    assert sorted(i for lot in found for group in lot for i in group) == list(range(400))
    spans = []
    for lot in found:
        each = np.concatenate([lengths[group] for group in lot])
        assert len(each) * each.max() <= 256
        spans.append((each.min(), each.max()))
    spans.sort()
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    assert len(found) < len(groups) / 2
    assert [len(lot) for lot in lots(lengths, groups, 0)] == [1] * len(groups)


def test_only_what_is_missing_is_encoded_and_progress_says_so(tiny, tmp_path):
    cache, events = Activations(tmp_path / "c"), []
    encoder(tiny, cache).encode(TEXTS[:3])
    watched = TextEncoder(tiny, cache, precision=FP32, emit=events.append)

    watched.encode(TEXTS)

    assert events[0] == StageStarted("encode", 3, "texts")
    assert [e.done for e in events if isinstance(e, StageProgress)][-1] == 3
    assert isinstance(events[-1], StageDone)
    assert "3 from the cache" in events[-1].summary
    events.clear()
    watched.features(TEXTS, [1])
    assert events == []


def test_features_are_the_chosen_layers_side_by_side(tiny, tmp_path):
    watched = encoder(tiny, Activations(tmp_path / "c"))
    whole = watched.encode(TEXTS)
    chosen = watched.features(TEXTS, [-1, 1])
    np.testing.assert_array_equal(chosen, np.concatenate([whole[:, 2], whole[:, 1]], axis=1))
    with pytest.raises(SettingError, match="no layer 3"):
        watched.features(TEXTS, [3])


def test_no_texts_give_an_empty_array(tiny, tmp_path):
    assert encoder(tiny, Activations(tmp_path / "c")).encode([]).shape == (0, 3, 32)
    assert encoder(tiny).features([], [1, 2]).shape == (0, 64)


def test_a_lone_surrogate_is_encoded_not_fatal(tiny):
    assert np.isfinite(encoder(tiny).encode(["good \ud800 price"])).all()


def test_texts_are_cut_to_the_length_asked_and_to_what_the_backbone_takes(tiny):
    long = "good " * 500
    cut = encoder(tiny, max_length=10)
    np.testing.assert_array_equal(cut.encode([long]), cut.encode(["good " * 8]))
    assert encoder(tiny, max_length=10_000).max_length == 128
    assert np.isfinite(encoder(tiny, max_length=10_000).encode([long])).all()


def test_the_prefix_is_part_of_the_text(tiny, tmp_path):
    cache = Activations(tmp_path / "c")
    prefixed = encoder(replace(tiny, prefix="the "), cache).encode(["price"])
    np.testing.assert_array_equal(prefixed, encoder(tiny, cache).encode(["the price"]))
    assert not np.array_equal(prefixed, encoder(tiny, cache).encode(["price"]))


def test_what_was_computed_before_an_interruption_is_kept(tiny, tmp_path):
    cache = Activations(tmp_path / "c")

    def interrupt(event):
        if isinstance(event, StageProgress) and event.done >= 20:
            raise KeyboardInterrupt

    texts = [f"price {i} is {'very ' * (i % 9)} good" for i in range(60)]
    stopped = TextEncoder(
        tiny, cache, precision=FP32, settings=EncodeSettings(batch_tokens=32), emit=interrupt
    )
    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        stopped.encode(texts)
    assert torch.get_num_threads() == threads

    events = []
    resumed = TextEncoder(tiny, Activations(tmp_path / "c"), precision=FP32, emit=events.append)
    found = resumed.encode(texts)
    assert 0 < events[0].total <= 40
    np.testing.assert_array_equal(found, encoder(tiny).encode(texts))


def test_a_cache_without_room_costs_time_not_answers(tiny, tmp_path):
    events = []
    small = Activations(tmp_path / "c", max_bytes=100)
    full = TextEncoder(tiny, small, precision=FP32, emit=events.append)
    np.testing.assert_array_equal(full.encode(TEXTS), encoder(tiny).encode(TEXTS))
    assert any("cache is full" in getattr(e, "text", "") for e in events)


def test_weights_that_are_not_numbers_are_named(tiny):
    from safetensors.numpy import load_file, save_file

    file = Path(tiny.path) / "model.safetensors"
    weights = load_file(file)
    weights["embeddings.LayerNorm.weight"] *= np.nan
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="not numbers"):
        encoder(tiny).encode(["good"])


def test_a_run_that_finds_everything_cached_imports_no_torch(tiny, tmp_path):
    encoder(tiny, Activations(tmp_path / "c")).encode(TEXTS)
    code = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
from pathlib import Path
from sartor.core.activations import Activations
from sartor.models.catalogue import find_backbone
from sartor.models.encode import TextEncoder
from sartor.models.passes import batches
from sartor.models.precision import Precision
cache = Activations(Path(sys.argv[2]))
encoder = TextEncoder(find_backbone(sys.argv[1]), cache, precision=Precision("float32"))
print(encoder.encode(["refund please"]).shape)
"""
    command = [sys.executable, "-c", code, tiny.path, str(tmp_path / "c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "(1, 3, 32)\n", done.stderr


def test_loading_prints_nothing_and_warns_of_nothing(tiny, capfd):
    model, tokenizer = load_text_backbone(tiny)
    assert capfd.readouterr() == ("", "")
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not [name for name, _ in model.named_parameters() if "pooler" in name]
    assert tokenizer.padding is None
    assert tokenizer.truncation is None


def test_batches_hold_equal_lengths_within_the_bound_and_every_text_once():
    lengths = np.random.default_rng(0).integers(1, 40, 300).tolist()
    groups = batches([*lengths, 500], 100)
    assert sorted(np.concatenate(groups).tolist()) == list(range(301))
    for group in groups:
        assert len({([*lengths, 500])[i] for i in group}) == 1
        assert len(group) == 1 or len(group) * lengths[group[0]] <= 100


def test_the_probe_measures_both_types_and_takes_the_faster():
    found = probe(rounds=2)
    assert found.fp32_gflops > 0
    assert found.bf16_gflops > 0
    assert (found.dtype == "bfloat16") == (found.bf16_gflops >= 1.15 * found.fp32_gflops)
