"""A recorded search and counted operations: what ratios and shares of the peak rest on."""

from types import SimpleNamespace

import pytest
import torch
from benchmarks._steps import Steps
from benchmarks.search_time import Found, Trace, summary
from benchmarks.throughput import operations
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel


def trial(at, validation, test):
    return {"at": at, "validation": validation, "test": test}


def test_the_peers_choice_is_by_validation_and_its_time_that_of_all_trials():
    found = Trace.of([trial(10, 0.70, 0.80), trial(20, 0.75, 0.76), trial(30, None, None)])
    assert found == Trace(seconds=30, test=0.76, soonest=10, trials=3)


def test_the_stricter_time_begins_where_the_peers_choice_stays_good():
    trials = [trial(10, 0.70, 0.80), trial(20, 0.72, 0.60), trial(30, 0.75, 0.80)]
    assert Trace.of([*trials, trial(40, 0.74, 0.90)]).soonest == 30


def test_a_search_without_a_finished_trial_is_refused():
    with pytest.raises(SystemExit, match="no trial"):
        Trace.of([trial(10, None, None)])


@pytest.mark.parametrize(("ours", "counts"), [(0.796, True), (0.790, False)])
def test_a_faster_search_counts_only_with_the_peers_score(ours, counts):
    peer = Trace(seconds=800.0, test=0.8, soonest=400.0, trials=32)
    lines = summary(peer, [Found(100.0, 120.0, ours, [])] * 5)
    ratios = [line for line in lines if line.unit == "times"]
    assert [line.value for line in ratios] == [8.0, 4.0]
    assert all(("does not count" in line.what) != counts for line in ratios)


def test_operations_are_those_that_torch_counts_forward_and_backward():
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        attn_implementation="eager",
    )
    model = BertModel(config, add_pooling_layer=False)
    ids = torch.randint(50, (4, 10))
    with FlopCounterMode(display=False) as counter:
        model(ids).last_hidden_state.sum().backward()

    weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    setup = SimpleNamespace(backbone=SimpleNamespace(layers=3, width=32))
    run = Steps(tokens=[40], squares=[4 * 10**2], seconds=[1.0], losses=[0.0])
    assert operations(run, setup, weights) == pytest.approx(counter.get_total_flops(), rel=0.01)
