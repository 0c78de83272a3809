"""A recorded search and counted operations: what ratios and shares of the peak rest on."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from benchmarks import lora_speed, throughput
from benchmarks._steps import Steps
from benchmarks.search_time import Found, Trace, summary
from benchmarks.throughput import operations
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from sartor.models.precision import Precision


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
    lines = summary(peer, [Found(100.0, 120.0, ours, [], "head")] * 5)
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
    )
    model = BertModel(config, add_pooling_layer=False)
    model.set_attn_implementation("eager")
    ids = torch.randint(50, (4, 10))
    with FlopCounterMode(display=False) as counter:
        model(ids).last_hidden_state.sum().backward()

    weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    setup: Any = SimpleNamespace(backbone=SimpleNamespace(layers=3, width=32))
    run = Steps(tokens=[40], squares=[4 * 10**2], seconds=[1.0], losses=[0.0])
    assert operations(run, setup, weights) == pytest.approx(counter.get_total_flops(), rel=0.01)


def steps(rate, loss):
    return Steps([int(rate)] * 3, [100] * 3, [1.0] * 3, [loss] * 3)


def lines_of(ours_loss, monkeypatch):
    monkeypatch.setattr(throughput, "matrix_weights", lambda _: 10**6)
    runs = {
        "ours fp32": [steps(2000, ours_loss)] * 5,
        "ours bf16": [steps(6000, ours_loss)] * 5,
        "stock dynamic fp32": [steps(1000, 0.5)] * 5,
        "stock grouped bf16": [steps(3000, 0.5)] * 5,
    }
    setup: Any = SimpleNamespace(backbone=SimpleNamespace(layers=0, width=0), steps=3)
    return throughput.summary(runs, [Precision("bfloat16", 20.0, 80.0)] * 6, setup)


def test_the_goal_against_the_stock_trainer_is_that_of_our_faster_type(monkeypatch):
    lines = lines_of(0.5, monkeypatch)
    goals = [line.goal for line in lines if line.against == "Trainer, dynamic fp32"]
    assert goals == ["", "at least 4×, better 6×"]
    goals = [line.goal for line in lines if line.against == "Trainer, grouped bf16"]
    assert goals == ["", "at least 1.5×"]


def test_a_faster_step_counts_only_where_the_loss_is_as_low(monkeypatch):
    for loss, counts in ((0.54, True), (0.56, False)):
        ratios = [line for line in lines_of(loss, monkeypatch) if line.unit == "times"]
        assert len(ratios) == 4
        assert all(("does not count" in line.what) != counts for line in ratios)


def test_a_share_of_the_peak_is_that_of_the_steps_own_type(monkeypatch):
    shares = [line for line in lines_of(0.5, monkeypatch) if line.unit == "%"]
    # 6 · 10⁶ weights · 2,000 tokens a second is 12 of 20 GFLOP/s; 36 of 80.
    assert [line.value for line in shares] == [pytest.approx(60.0), pytest.approx(45.0)]


def test_lora_is_compared_in_its_own_type():
    runs = {name: [steps(rate, 0.5)] * 5 for name, rate in LORA.items()}
    ratios = [line for line in lora_speed.summary(runs, 8) if line.unit == "times"]
    assert [(line.against, line.value) for line in ratios] == [
        ("peft and Trainer, dynamic fp32", 2.0),
        ("peft and Trainer, grouped bf16", 3.0),
    ]


LORA = {"ours fp32": 200, "peft dynamic fp32": 100, "ours bf16": 600, "peft grouped bf16": 200}
