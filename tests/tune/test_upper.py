"""The upper part of a classifier answers from states as the whole answers from tokens."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from sartor.core.errors import NothingToTune
from sartor.core.types import Backbone
from sartor.search.estimates import Work
from sartor.search.feasible import Sieve
from sartor.search.rungs import Aim, build_rungs, obstacles
from sartor.tasks._encoder.model import TextClassifier
from sartor.tune.methods.top_layers import TopLayers
from sartor.tune.upper import Upper, check_cut
from tests.tune.killed import tiny_backbone

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
IDS = torch.tensor([[2, 7, 9, 30, 3, 0, 0], [2, 11, 12, 13, 14, 40, 3]])
MASK = (IDS != 0).long()
CUT: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(**SMALL)),
    "roberta": lambda: RobertaModel(RobertaConfig(**SMALL)),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**SMALL)),
    "electra": lambda: ElectraModel(ElectraConfig(**SMALL, embedding_size=16)),
    "mpnet": lambda: MPNetModel(MPNetConfig(**SMALL)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=50, dim=16, n_layers=4, n_heads=2, hidden_dim=32)
    ),
}
REFUSED: dict[str, Callable[[], PreTrainedModel]] = {
    "albert, one layer run four times": lambda: AlbertModel(AlbertConfig(**SMALL)),
    "electra, which widens its embeddings": lambda: ElectraModel(
        ElectraConfig(**SMALL, embedding_size=8)
    ),
    "deberta, whose first layer is joined by a convolution": lambda: DebertaV2Model(
        DebertaV2Config(**SMALL, relative_attention=True, conv_kernel_size=3)
    ),
}


def classifier(make: Callable[[], PreTrainedModel], layers: list[int]) -> TextClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TextClassifier(make(), 3, layers).eval()


def states_of(model: TextClassifier, layer: int) -> Tensor:
    with torch.no_grad():
        found = model.encoder(input_ids=IDS, attention_mask=MASK, output_hidden_states=True)
    return found.hidden_states[layer]


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize(("layers", "below"), [([4], 2), ([3], 2), ([2, 4], 1), ([4], 0)])
def test_logits_from_states_are_those_from_tokens(name: str, layers: list[int], below: int):
    model = classifier(CUT[name], layers)
    states = states_of(model, below)
    upper = Upper(model, below)

    with torch.no_grad():
        whole = model(IDS, MASK)
        torch.testing.assert_close(upper(states, MASK), whole, rtol=1e-4, atol=1e-5)
        # What stands at padding is not looked at.
        noisy = torch.where(MASK.bool().unsqueeze(-1), states, 9.0)
        torch.testing.assert_close(upper(noisy, MASK), whole, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(upper(states.roll(1, -1), MASK), whole, atol=1e-2)
    assert upper.depth == max(layers) - below


@pytest.mark.parametrize("name", REFUSED)
def test_an_architecture_that_cannot_be_cut_is_named_with_a_way_out(name: str):
    model = classifier(REFUSED[name], [4])
    with pytest.raises(NothingToTune, match=type(model.encoder).__name__) as caught:
        Upper(model, 2)
    assert "lora" in caught.value.fix


def test_a_step_on_the_upper_part_is_the_step_on_the_whole_with_the_rest_frozen():
    whole, model = (classifier(CUT["bert"], [4]) for _ in range(2))
    states, labels = states_of(model, 2), torch.tensor([0, 2])
    upper = Upper(model, 2)
    TopLayers(top=2).attach(whole)
    TopLayers(top=2).attach(model)
    for trained, inputs in ((whole, IDS), (upper, states)):
        rates = [p for p in trained.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(rates, lr=0.5)
        for _ in range(3):
            nn.functional.cross_entropy(trained(inputs, MASK), labels).backward()
            optimizer.step()
            optimizer.zero_grad()

    before = classifier(CUT["bert"], [4]).state_dict()
    for name, tensor in whole.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), tensor, rtol=1e-4, atol=1e-5)
        assert torch.equal(tensor, before[name]) is not tensor.requires_grad, name
    assert all(torch.equal(p, whole.get_parameter(n)) for n, p in _embeddings(model))


def _embeddings(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(n, p) for n, p in model.named_parameters() if "embeddings" in n]


def test_the_upper_part_keeps_no_embeddings_and_shares_its_layers():
    model = classifier(CUT["bert"], [4])
    upper = Upper(model, 2)
    assert _embeddings(upper) == []
    ours = {id(p) for p in upper.parameters()}
    assert ours < {id(p) for p in model.parameters()}
    assert sum(p.numel() for p in upper.parameters()) < sum(p.numel() for p in model.parameters())


def test_the_whole_still_gives_every_hidden_state_after_the_cut():
    model = classifier(CUT["bert"], [4])
    upper = Upper(model, 2)
    with torch.no_grad():
        upper(states_of(model, 2), MASK)
        found = model.encoder(input_ids=IDS, attention_mask=MASK, output_hidden_states=True)
    assert len(found.hidden_states) == 5


def test_rates_count_layers_from_the_top_in_the_part_as_in_the_whole():
    model = classifier(CUT["bert"], [4])
    upper = Upper(model, 2)
    method = TopLayers(top=2, lr=1e-3, layer_decay=0.5)
    method.attach(model)
    whole = {id(p): method.rate(n, 4) for n, p in model.named_parameters() if p.requires_grad}
    part = {
        id(p): method.rate(n, upper.depth) for n, p in upper.named_parameters() if p.requires_grad
    }
    assert part == whole
    assert sorted(set(part.values())) == [0.0005, 0.001, 0.002]


@pytest.mark.parametrize(
    ("top", "layers", "below"), [(2, [6], 4), (2, [4], 2), (2, [1, 6], 1), (6, [6], 0)]
)
def test_the_layer_read_is_as_many_below_the_head_as_are_trained(
    top: int, layers: list[int], below: int
):
    assert TopLayers(top=top).below(layers) == below


@pytest.mark.parametrize("layers", [[0], [2]])
def test_more_layers_than_there_are_below_the_head_are_refused(layers: list[int]):
    with pytest.raises(NothingToTune, match="top=3"):
        TopLayers(top=3).below(layers)
    with pytest.raises(NothingToTune, match="top=3"):
        TopLayers(top=3).attach(classifier(CUT["bert"], layers))


def test_a_backbone_is_tried_out_by_its_configuration_alone(tmp_path):
    backbone = tiny_backbone(tmp_path / "tiny")
    (tmp_path / "tiny" / "model.safetensors").unlink()
    drawn = torch.random.get_rng_state()

    check_cut(backbone)

    assert torch.equal(torch.random.get_rng_state(), drawn)


@pytest.mark.parametrize(
    "config",
    [
        AlbertConfig(**SMALL),
        DebertaV2Config(**SMALL, relative_attention=True, conv_kernel_size=3),
    ],
)
def test_what_cannot_be_cut_is_left_out_of_the_plan_before_weights_are_loaded(tmp_path, config):
    config.save_pretrained(tmp_path)
    backbone = Backbone("b", "folder", str(tmp_path), "1" * 64, "MIT", ("en",), 1, 4, 16)
    bert = tiny_backbone(tmp_path / "bert")
    (dropped_rung,) = _planned([backbone])[1]
    assert dropped_rung.rung == "top_layers"
    assert "cannot be trained from cached states" in dropped_rung.why
    rungs, dropped = _planned([bert, backbone])
    assert [r.candidates[0].backbone for r in rungs] == ["tiny"]
    assert [d.backbone for d in dropped] == ["b"]


def _planned(backbones: list[Backbone]):
    aim = Aim(
        "text_classification", 0, Sieve(attaches=obstacles("text_classification", ["x", "y"], {}))
    )
    work = Work(1_000, 100, 0, 100.0)
    return build_rungs(backbones, ["top_layers"], aim, lambda *_: work)
