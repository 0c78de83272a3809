"""AdaLoRA: the ranks fall to the budget and stay, as peft's own model has it, kills or not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import AdaLoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from sartor.core.errors import SettingError
from sartor.core.events import Event, StageProgress, silent
from sartor.core.types import Candidate
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.text_classification.train import TextClassification
from sartor.tune.batching import Tokens
from sartor.tune.checkpoint import Checkpoints
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.generators import seeded
from sartor.tune.loop import Recipe, Rows, Watch, train
from sartor.tune.methods.adalora import AdaLora, ranks
from sartor.tune.settings import Loop
from tests.tune.killed import NoFeatures, reviews, tiny_backbone

LAYERS = 12
"""Linear layers of two transformer layers."""


def model_of(method: AdaLora) -> TextClassifier:
    config = BertConfig(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.2,
    )
    with seeded(0):
        model = TextClassification().build(BertModel(config, add_pooling_layer=False), 3)
        method.attach(model)
    return model


def rows_of(count: int, seed: int, shift: int = 0) -> Rows:
    draw = np.random.default_rng(seed)
    ids = [draw.integers(1, 60, draw.integers(3, 20)).tolist() for _ in range(count)]
    return Rows(Tokens(ids, pad=0), np.array([(sum(row) + shift) % 3 for row in ids]))


def trained(method: AdaLora, watch: Watch | None = None, shift: int = 0, **loop: Any):
    """`shift` sets the validation labels apart from those of training."""
    model = model_of(method)
    recipe = Recipe(
        loop=Loop(**{"epochs": 4, "batch_rows": 8, "patience": 100, **loop}),
        seed=7,
        loss=nn.functional.cross_entropy,
        rate=lambda name: 2e-2,
        method=method,
    )
    ended = train(
        model, (rows_of(48, 1), rows_of(16, 2, shift)), recipe, watch or Watch(emit=silent)
    )
    return model, ended


@pytest.mark.parametrize("rank", [1, 3])
def test_the_ranks_fall_to_the_budget_and_the_weights_kept_have_them(rank: int):
    # What training learns is wrong on the validation rows, so the best log-loss comes first.
    model, ended = trained(AdaLora(rank=rank, initial_rank=6), shift=1)
    losses = [h["validation_log_loss"] for h in ended.history]
    assert int(np.argmin(losses)) < len(losses) // 2, "nothing was tempting; the test is vacuous"

    assert sum(ranks(model).values()) == rank * LAYERS
    assert len(set(ranks(model).values())) > 1, "the layers share the budget out evenly"


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_short_run_reaches_the_budget_too(steps: int):
    model, _ = trained(AdaLora(rank=2, initial_rank=4), max_steps=steps)

    assert sum(ranks(model).values()) == 2 * LAYERS


class _Stop(Exception): ...


@pytest.mark.parametrize("stop", [3, 9, 15, 17])
def test_ranks_and_what_they_are_chosen_by_survive_a_kill(tmp_path: Path, stop: int):
    """The steps are before the first cut, amid the cuts, and after the last."""
    method = AdaLora(rank=2, initial_rank=4, ranks_from=0.2, ranks_fixed=0.4)
    whole, straight = trained(method)

    def emit(event: Event) -> None:
        if isinstance(event, StageProgress) and event.done >= stop:
            raise _Stop

    with pytest.raises(_Stop):
        trained(method, Watch(Checkpoints(tmp_path), every_steps=1, emit=emit))
    resumed, ended = trained(method, Watch(Checkpoints(tmp_path), every_steps=1))

    assert ended.history == straight.history
    assert ranks(resumed) == ranks(whole)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_cuts_and_penalty_are_those_of_pefts_own_model():
    """Step by step beside peft's `AdaLoraModel`, which counts its steps and adds its penalty."""
    steps, method = 10, AdaLora(rank=2, initial_rank=4, ranks_from=0.2, ranks_fixed=0.3)
    ours = model_of(method)
    inner = _Answering(model_of_plain())
    config = AdaLoraConfig(
        target_r=2,
        init_r=4,
        lora_alpha=method.alpha,
        target_modules=r"model\.encoder\..*(query|key|value|dense)",
        tinit=2,
        tfinal=3,
        total_step=steps,
        orth_reg_weight=method.orthogonality,
    )
    theirs = get_peft_model(inner, config)
    ours.eval(), theirs.eval()
    pairs = _same_start(ours, theirs)
    method.begin(ours, steps)
    optimizers = [torch.optim.SGD([p for _, p in side], lr=0.5) for side in pairs]
    data = rows_of(8, 3)
    inputs, labels = data.inputs.batch(np.arange(8)), torch.from_numpy(data.labels)

    for step in range(1, steps + 1):
        mine = nn.functional.cross_entropy(ours(*inputs), labels) + method.penalty(ours)
        # Through `base_model`: the wrapper around it leaves the penalty out.
        their = theirs.base_model(*inputs, labels).loss
        torch.testing.assert_close(mine, their)
        for loss, optimizer in zip((mine, their), optimizers, strict=True):
            loss.backward()
            optimizer.step()
        method.after_step(ours, step)
        theirs.base_model.update_and_allocate(step)
        for optimizer in optimizers:
            optimizer.zero_grad()
        for (name, a), (_, b) in zip(*pairs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=f"{name}, step {step}")

    assert sum(ranks(ours).values()) == 2 * LAYERS


def model_of_plain() -> TextClassifier:
    model = model_of(AdaLora())
    AdaLora().fold(model)
    return model


class _Answered:
    def __init__(self, loss: Tensor) -> None:
        self.loss = loss


class _Answering(nn.Module):
    """What peft's model expects to wrap: a forward that returns an object with a loss."""

    def __init__(self, model: TextClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor, labels: Tensor) -> _Answered:
        return _Answered(nn.functional.cross_entropy(self.model(ids, mask), labels))


def _same_start(ours: nn.Module, theirs: nn.Module) -> tuple[list[Any], list[Any]]:
    def adapted(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
        return [(n, p) for n, p in model.named_parameters() if ".lora_" in n]

    mine, other = adapted(ours), adapted(theirs)
    with torch.no_grad():
        for (a, p), (b, q) in zip(mine, other, strict=True):
            assert a.rpartition(".lora_")[2][0] == b.rpartition(".lora_")[2][0]
            q.copy_(p)
        for name, tensor in model_plain_tensors(ours).items():
            theirs.get_parameter(f"base_model.model.model.{name}").copy_(tensor)
    return mine, other


def model_plain_tensors(ours: nn.Module) -> dict[str, Tensor]:
    return {n: p for n, p in ours.named_parameters() if ".lora_" not in n and ".ranknum" not in n}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"rank": 8, "initial_rank": 8}, "initial_rank=8"),
        ({"ranks_from": 0.5, "ranks_fixed": 0.5}, "ranks_fixed=0.5"),
    ],
)
def test_a_schedule_that_cuts_nothing_is_refused(settings: dict[str, Any], named: str):
    with pytest.raises(SettingError, match=named):
        model_of(AdaLora(**settings))


def test_the_record_of_a_fit_tells_each_layers_ranks(tmp_path: Path):
    backbone = tiny_backbone(tmp_path / "backbone")
    options = TuneOptions(max_length=64)
    tuner = Tuner({"tiny": backbone}, lambda _: NoFeatures(), tmp_path, ["great", "other"], options)
    settings = {"rank": 2, "initial_rank": 4, "epochs": 2, "batch_rows": 8}
    candidate = Candidate("tiny", backbone.sha256, "adalora", settings, seed=3)

    fitted = tuner(candidate, reviews(64, 1), reviews(24, 2), silent)

    found = json.loads((fitted.folder / "fit.json").read_text())["findings"]["ranks"]
    assert len(found) == LAYERS
    assert sum(found.values()) == 2 * LAYERS
    assert "encoder.layer.0.attention.self.query" in found
