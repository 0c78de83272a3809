"""Continued pretraining: it learns the texts, survives kills, and leaves a backbone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sartor.core.errors import DataError, SettingError
from sartor.core.events import Event, Note, StageProgress, silent
from sartor.core.types import Backbone
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.tune.pretrain import FEWEST, PRETEXTS, Pretraining, Reading, Words, answers
from sartor.tune.scoring import log_loss
from tests.stories.shop import reviews
from tests.tiny import make_tiny_bert

NAMES = PRETEXTS.names()


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    place = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SARTOR_HOME", str(place / "home"))
        return find_backbone(str(make_tiny_bert(place / "tiny")))


@pytest.fixture(scope="module")
def learnt(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    """What each pretext task made of the backbone and 300 texts, without a break."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # bytes are compared
    place = tmp_path_factory.mktemp("learnt")
    made = {name: Pretraining(place, silent)(reading(backbone, name)) for name in NAMES}
    torch.set_num_threads(before)
    return made


def texts(count: int = 300) -> list[str]:
    return [text for text, _ in reviews(count, 5)]


def reading(backbone: Backbone, name: str, count: int = 300) -> Reading:
    return Reading(name, backbone, texts(count), 32, 0)


def history(found: Backbone) -> list[dict[str, float]]:
    return json.loads((Path(found.path) / "pretrain.json").read_text())["history"]


def words(mask: int | None = 4) -> Words:
    return Words(list(range(5, 60)), frozenset(range(5)), mask)


def module(backbone: Backbone, name: str, **settings: Any) -> torch.nn.Module:
    encoder, _ = load_text_backbone(backbone)
    return PRETEXTS.get(name)(**settings).build(encoder, words())


@pytest.mark.parametrize("name", NAMES)
def test_the_texts_are_learnt_and_the_result_is_a_backbone_like_any_other(
    name: str, backbone: Backbone, learnt: dict[str, Backbone]
):
    found = learnt[name]
    losses = [h["validation_log_loss"] for h in history(found)]
    assert min(losses[1:]) < losses[0], "nothing was learnt"
    assert found.name == f"{backbone.name}+{name}"
    assert found.sha256 != backbone.sha256
    same = ("licence", "languages", "prefix", "layers", "width", "max_length", "parameters")
    assert [getattr(found, k) for k in same] == [getattr(backbone, k) for k in same]

    (before, _), (after, tokenizer) = load_text_backbone(backbone), load_text_backbone(found)
    ids = torch.tensor([tokenizer.encode("the product is good").ids])
    with torch.no_grad():
        one, other = before(input_ids=ids), after(input_ids=ids)
    assert one.last_hidden_state.shape == other.last_hidden_state.shape
    assert not torch.allclose(one.last_hidden_state, other.last_hidden_state, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_asking_again_finds_it_and_other_texts_make_another(
    name: str, backbone: Backbone, tmp_path: Path
):
    events: list[Event] = []
    first = Pretraining(tmp_path, silent)(reading(backbone, name, 60))
    again = Pretraining(tmp_path, events.append)(reading(backbone, name, 60))
    assert again == first
    assert events == [], "found, not trained"
    other = Pretraining(tmp_path, silent)(reading(backbone, name, 61))
    assert other.sha256 != first.sha256
    assert other.path != first.path


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(
    name: str, backbone: Backbone, learnt: dict[str, Backbone], tmp_path: Path
):
    whole = learnt[name]

    def dies(event: Event) -> None:
        if isinstance(event, StageProgress) and event.done == event.total // 2 + 1:
            raise Killed

    with pytest.raises(Killed):
        Pretraining(tmp_path / "killed", dies, checkpoint_steps=2)(reading(backbone, name))
    events: list[Event] = []
    resumed = Pretraining(tmp_path / "killed", events.append)(reading(backbone, name))
    assert any(isinstance(e, Note) and "Resuming at step" in e.text for e in events)
    assert resumed.sha256 == whole.sha256
    assert history(resumed) == history(whole)


def test_a_damaged_result_is_made_again(backbone: Backbone, tmp_path: Path):
    first = Pretraining(tmp_path, silent)(reading(backbone, "simcse", 60))
    weights = Path(first.path) / "model.safetensors"
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    events: list[Event] = []
    Pretraining(tmp_path, events.append)(reading(backbone, "simcse", 60))
    assert any(isinstance(e, Note) and "is damaged" in e.text for e in events)
    assert weights.read_bytes() == sound


class Facts:
    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def fact(self, name: str, find: Any) -> Any:
        return self.known.setdefault(name, find())

    def recall(self, name: str) -> Any:
        return self.known.get(name)


def test_what_the_clock_cut_ends_there_again_and_is_not_taken_for_the_whole(
    backbone: Backbone, tmp_path: Path
):
    facts = Facts()
    cut = Pretraining(tmp_path, silent, deadline=0.0, facts=facts)(reading(backbone, "simcse"))
    assert [f["cut"] for f in facts.known.values()] == [1]
    again = Pretraining(tmp_path, silent, facts=facts)(reading(backbone, "simcse"))
    assert again == cut
    whole = Pretraining(tmp_path, silent)(reading(backbone, "simcse"))
    assert whole.sha256 != cut.sha256


def test_too_few_texts_are_refused(backbone: Backbone, tmp_path: Path):
    few = replace(reading(backbone, "mlm"), texts=texts(FEWEST - 1))
    with pytest.raises(DataError, match="31 texts are too few") as error:
        Pretraining(tmp_path, silent)(few)
    assert "data.unlabelled" in error.value.fix


def test_a_tokenizer_without_a_mask_token_is_refused_for_masked_words(backbone: Backbone):
    encoder, _ = load_text_backbone(backbone)
    with pytest.raises(SettingError, match="needs a mask token") as error:
        PRETEXTS.get("mlm")().build(encoder, words(mask=None))
    assert "pretrain: simcse" in error.value.fix


def test_the_loop_reads_the_answers_as_the_mean_loss():
    losses = torch.tensor([0.0, 0.3, 2.0, 30.0])
    found = answers(losses).numpy()
    assert log_loss(found, np.zeros(4, np.int64)) == pytest.approx(losses.mean().item(), rel=1e-5)
    np.testing.assert_allclose(np.exp(found).sum(1), 1, atol=1e-5)


def batch(rows: int, length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 60, (rows, length), generator=draw)
    ids[:, 0] = 2
    mask = torch.ones_like(ids)
    mask[rows // 2 :, length // 2 :] = 0
    ids[mask == 0] = 0
    return ids, mask


def test_words_are_hidden_in_the_shares_of_the_paper_and_special_tokens_never(backbone: Backbone):
    guesser: Any = module(backbone, "mlm").train()
    ids, mask = batch(400, 60)
    torch.manual_seed(0)
    changed, chosen = guesser._hide(ids, mask)
    words_ = (mask == 1) & (ids >= 5)
    assert not chosen[~words_].any()
    assert torch.equal(changed[~chosen], ids[~chosen])
    assert chosen.any(1).all(), "every text has something to guess"
    assert chosen.sum() / words_.sum() == pytest.approx(0.15, abs=0.01)
    masked = (changed == 4)[chosen].float().mean().item()
    kept = (changed == ids)[chosen].float().mean().item()
    assert masked == pytest.approx(0.8, abs=0.03)
    assert kept == pytest.approx(0.1 + 0.1 / 55, abs=0.03)
    assert not torch.equal(guesser._hide(ids, mask)[1], chosen), "drawn anew each time"
    guesser.eval()
    assert torch.equal(guesser._hide(ids, mask)[1], guesser._hide(ids, mask)[1])


def test_a_text_of_special_tokens_alone_has_no_loss(backbone: Backbone):
    guesser = module(backbone, "mlm").eval()
    ids, mask = torch.tensor([[2, 3, 0, 0], [2, 9, 8, 3]]), torch.tensor([[1, 1, 0, 0], [1] * 4])
    with torch.no_grad():
        losses = -guesser(ids, mask)[:, 0]
    assert losses[0] == 0
    assert losses[1] > 0


def test_masked_words_are_scored_as_the_reference_does(backbone: Backbone):
    """transformers' own tied head with these weights gives the same loss."""
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertLMPredictionHead

    guesser: Any = module(backbone, "mlm").eval()
    encoder = guesser.encoder
    config = BertConfig(**{**encoder.config.to_dict(), "layer_norm_eps": 1e-5})
    head: Any = BertLMPredictionHead(config)
    with torch.no_grad():
        torch.nn.init.normal_(guesser.guess.get_parameter("bias"))
        head.transform.dense.load_state_dict(guesser.guess[0].state_dict())
        head.transform.LayerNorm.load_state_dict(guesser.guess[2].state_dict())
        head.decoder.weight = encoder.embeddings.word_embeddings.weight
        head.decoder.bias.fill_(-1e9)
        head.decoder.bias[guesser.used] = guesser.guess.get_parameter("bias")
        ids, mask = batch(6, 20)
        changed, chosen = guesser._hide(ids, mask)
        states = encoder(input_ids=changed, attention_mask=mask).last_hidden_state
        labels = ids.masked_fill(~chosen, -100)
        for row in range(len(ids)):
            wanted = torch.nn.functional.cross_entropy(head(states[row]), labels[row])
            found = -guesser(ids, mask)[row, 0]
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_two_readings_are_compared_as_the_paper_says(backbone: Backbone):
    twice: Any = module(backbone, "simcse").train()
    ids, mask = batch(5, 12)
    torch.manual_seed(0)
    found = -twice(ids, mask)[:, 0].detach()
    torch.manual_seed(0)
    with torch.no_grad():
        views = []
        for _ in range(2):
            states = twice.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            views.append((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
        one, other = views
        near = torch.nn.functional.cosine_similarity(one[:, None], other[None], dim=-1) / 0.05
        wanted = near.logsumexp(1) - near.diagonal()
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(views[0], views[1]), "dropout makes the readings differ"


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"cut": 31}, {"bf16": True}, {"pretext": "mlm"}, {"texts": texts(59)}]
)
def test_whatever_decides_the_result_decides_its_name(backbone: Backbone, other: dict[str, Any]):
    one = reading(backbone, "simcse", 60)
    assert one.key() == reading(backbone, "simcse", 60).key()
    assert replace(one, **other).key() != one.key()
