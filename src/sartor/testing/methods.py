"""Laws that every tuning method obeys, built-in or from another distribution.

A distribution that adds a method tests it by importing these into a test module:

    from sartor.testing.methods import *  # noqa: F403

The model is a BERT of a few thousand random weights; nothing is downloaded.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from sartor.core.errors import NothingToTune
from sartor.core.events import Event, StageProgress, silent
from sartor.search.portfolio import settings_of
from sartor.search.space import Space
from sartor.search.suiting import unfit
from sartor.shrink.export import to_onnx
from sartor.tasks import TASKS, Composed, Written
from sartor.tasks._encoder.added import install
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.text_classification.train import TextClassification, load
from sartor.testing.documented import undocumented
from sartor.tune.api import METHODS, Disturbs, Method, tuning_methods
from sartor.tune.batching import Tokens
from sartor.tune.checkpoint import Checkpoints
from sartor.tune.generators import seeded
from sartor.tune.loop import Recipe, Rows, Trained, Watch, train
from sartor.tune.settings import Loop, read_settings

__all__ = [
    "method",
    "one_thread",
    "test_a_method_that_cannot_apply_says_so",
    "test_a_resumed_run_ends_with_the_bytes_of_an_uninterrupted_one",
    "test_attaching_changes_no_output_unless_the_method_says_so",
    "test_every_candidate_of_a_portfolio_lies_in_the_space_that_is_searched",
    "test_every_setting_is_documented_and_has_one_owner",
    "test_folding_restores_the_architecture_up_to_what_it_added_and_keeps_the_outputs",
    "test_saving_and_loading_are_exact",
    "test_the_exported_graph_gives_the_answers_of_the_folded_model",
    "test_the_portfolio_is_valid_and_tries_nothing_twice",
    "test_training_moves_every_trainable_tensor_and_no_other",
]

_WORDS, _OUTPUTS = 60, 3


@pytest.fixture(params=tuning_methods())
def method(request: pytest.FixtureRequest) -> Method:
    """Every registered method that has weights, with its default settings."""
    return METHODS.get(request.param)()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices are slower on more threads, and bytes are compared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_attaching_changes_no_output_unless_the_method_says_so(method: Method) -> None:
    model = _model()
    before = _answers(model)

    method.attach(model)

    same = torch.allclose(_answers(model), before, rtol=0, atol=1e-6)
    assert same is not isinstance(method, Disturbs)


def test_training_moves_every_trainable_tensor_and_no_other(method: Method) -> None:
    # From a seed: AdaLoRA may cut every rank of a layer, back to the zeros it began with.
    model = _opened(method)
    start = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}

    _train(method, model)

    for name, tensor in model.named_parameters():
        assert torch.equal(tensor, start[name]) is not tensor.requires_grad, name


def test_folding_restores_the_architecture_up_to_what_it_added_and_keeps_the_outputs(
    method: Method,
) -> None:
    model = _model()
    untuned = _answers(model)
    with seeded(5):
        method.attach(model)
    _train(method, model)
    tuned = _answers(model)
    assert not torch.allclose(tuned, untuned), "training moved nothing; the test would be vacuous"

    method.fold(model)

    plain = _model()
    for layers in model.added:
        install(plain, layers)
    assert [type(module) for module in model.modules()] == [type(m) for m in plain.modules()]
    shapes = {name: tensor.shape for name, tensor in plain.state_dict().items()}
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == shapes
    torch.testing.assert_close(_answers(model), tuned, rtol=1e-4, atol=1e-5)


def test_saving_and_loading_are_exact(method: Method, tmp_path: Path) -> None:
    model = _folded(method)

    model.save(tmp_path)

    loaded = load(tmp_path)
    assert loaded.added == model.added
    assert torch.equal(_answers(loaded), _answers(model))


@pytest.mark.slow
def test_the_exported_graph_gives_the_answers_of_the_folded_model(
    method: Method, tmp_path: Path
) -> None:
    model = _folded(method)
    model.save(tmp_path / "fitted")

    to_onnx(tmp_path / "fitted", "text_classification", tmp_path / "model.onnx")

    session = InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for rows, tokens in ((1, 3), (5, 24)):
        ids = torch.randint(1, _WORDS, (rows, tokens), generator=torch.Generator().manual_seed(4))
        mask = torch.ones_like(ids)
        mask[0, tokens // 2 :] = 0
        fed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        (found,) = session.run(None, fed)
        with torch.no_grad():
            wanted = model(ids, mask)
        torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-4, atol=1e-4)


def test_a_resumed_run_ends_with_the_bytes_of_an_uninterrupted_one(
    method: Method, tmp_path: Path
) -> None:
    whole = _opened(method)
    straight = _train(method, whole)
    for attempt in range(2):
        broken = _opened(method)
        watch = Watch(Checkpoints(tmp_path), every_steps=2, emit=_StopAfter(3 + 2 * attempt))
        with pytest.raises(_Stopped):
            _train(method, broken, watch)
    resumed = _opened(method)
    ended = _train(method, resumed, Watch(Checkpoints(tmp_path), every_steps=2))

    assert ended.history == straight.history
    for (name, ours), (_, theirs) in zip(
        resumed.named_parameters(), whole.named_parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_a_method_that_cannot_apply_says_so(method: Method) -> None:
    bare = nn.Module()
    bare.encoder, bare.head = nn.Identity(), nn.Identity()

    with pytest.raises(NothingToTune) as caught:
        method.attach(bare)

    assert caught.value.fix


def test_every_setting_is_documented_and_has_one_owner(method: Method) -> None:
    owners = [type(method), TextClassification, Loop]
    for owner in owners:
        assert undocumented(owner) == []
    names = Counter(field.name for owner in owners for field in fields(cast("Any", owner)))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_portfolio_is_valid_and_tries_nothing_twice(method: Method) -> None:
    name = type(method).__module__.removeprefix(f"{METHODS.package}.").split(".")[0]
    portfolio = list(method.portfolio())

    assert portfolio
    untuned = Written, Composed
    chosen = (n for n in TASKS.names() if not isinstance(TASKS.get(n)().target, untuned))
    for task in chosen:
        read = [read_settings(flat, task=task, method=name) for flat in portfolio]
        assert all(read[i] != read[j] for i in range(len(read)) for j in range(i))


@pytest.mark.parametrize("name", METHODS.names())
def test_every_candidate_of_a_portfolio_lies_in_the_space_that_is_searched(name: str) -> None:
    untuned = Written, Composed
    chosen = (n for n in TASKS.names() if not isinstance(TASKS.get(n)().target, untuned))
    for task in chosen:
        if not unfit(name, task):
            space = Space.of(task, name)
            outside = [s for s in settings_of(METHODS.get(name), task) if space.params(s) is None]
            assert not outside, "a study would pass over what it gave"


class _Stopped(Exception):
    """What a kill looks like from inside: the run ends between two steps."""


class _StopAfter:
    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageProgress) and event.done >= self.step:
            raise _Stopped


def _model() -> TextClassifier:
    config = BertConfig(
        vocab_size=_WORDS,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = BertModel(config, add_pooling_layer=False)
        return TextClassification().build(encoder, _OUTPUTS).eval()


def _opened(method: Method) -> TextClassifier:
    """The model with the method attached; what the method adds starts from a seed."""
    model = _model()
    with seeded(5):
        method.attach(model)
    return model


def _folded(method: Method) -> TextClassifier:
    """The model as a fit leaves it."""
    model = _opened(method)
    _train(method, model)
    method.fold(model)
    return model.eval()


def _rows(count: int, seed: int) -> Rows:
    random = np.random.default_rng(seed)
    ids = [random.integers(1, _WORDS, random.integers(3, 20)).tolist() for _ in range(count)]
    return Rows(Tokens(ids, pad=0), np.array([sum(row) % _OUTPUTS for row in ids]))


def _train(method: Method, model: TextClassifier, watch: Watch | None = None) -> Trained:
    loop = Loop(epochs=2, batch_rows=8, patience=100)
    weights = torch.ones(_OUTPUTS)
    recipe = Recipe(
        loop=loop,
        seed=7,
        loss=lambda logits, labels: TextClassification().loss(
            logits, labels, weights.to(logits.device), 0.0
        ),
        # The same for all tensors, and large: a tiny model must move visibly in a few steps.
        rate=lambda name: 2e-2,
        method=method,
    )
    return train(model, (_rows(48, 1), _rows(16, 2)), recipe, watch or Watch(emit=silent))


def _answers(model: nn.Module) -> Tensor:
    ids, mask = _rows(8, 3).inputs.batch(np.arange(8))
    model.eval()
    with torch.no_grad():
        return model(ids, mask)
