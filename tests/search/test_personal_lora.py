"""LoRAs of users' own: tuned on the fit, released and served as heads are, beside them."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from sartor.bundle import Bundle, open_bundle
from sartor.bundle.adapter import adapter_folder, read_adapter
from sartor.bundle.base import read_base
from sartor.core.errors import ModelError, NothingToTune, UnknownName
from sartor.core.events import Event, Note
from sartor.core.protocols import Floats
from sartor.core.store import Store
from sartor.core.workspace import Workspace
from sartor.listen.by_user import Who
from sartor.search import personal_lora
from sartor.search.forgetting import forget_user
from sartor.search.personal_own import Lesson, Own, best_of
from sartor.search.personal_record import Outcome
from sartor.search.personalising import Rule, Whom, personalise
from sartor.serve.runtime import Runtime, load
from sartor.tasks.text_classification.train import load as load_fit
from sartor.tune import personal_lora as tuning
from sartor.tune.reopened import Reading
from tests.search.personal import Manners, right, told
from tests.search.personal_bert import FIT, TOPICS, make_bundle, make_fit, text_of

ANA, BEN, CAT = Who(None, "ana"), Who(None, "ben"), Who(None, "cat")
MANNERS = Manners(says=text_of)
LORA = Rule(method="lora")
FRESH = [text_of(topic, 5_000 + topic) for topic in range(len(TOPICS))]


def habit(topic: int) -> str:
    """To this user, an invoice is a refund."""
    return "refund" if right(topic) == "invoice" else right(topic)


def quick(patch: pytest.MonkeyPatch) -> None:
    """One strength beside the shared model, by two folds: the rest is the tuning's own test."""
    once = partial(tuning.fit_personal_lora, grid=(math.inf, 10.0))
    patch.setattr(personal_lora, "fit_personal_lora", once)
    patch.setattr(tuning, "FOLDS", 2)


@dataclass(frozen=True)
class Shop:
    """Ben has a head and ana a LoRA, in one folder of adapters.

    Args:
        folder: Of the workspace.
        outcomes: Of ben and of ana.
        told: What ana's call said.
    """

    folder: Path
    outcomes: tuple[Outcome, Outcome]
    told: tuple[Event, ...]

    @property
    def bundle(self) -> Bundle:
        return open_bundle(self.folder / "made" / "bundle")

    @property
    def root(self) -> Path:
        return self.folder / "adapters"

    @property
    def place(self) -> Workspace:
        return Workspace.open(self.folder)

    def tuned(self, *users: str, **more) -> list[Outcome]:
        return personalise(
            self.bundle.folder, Whom(users), root=self.root, workspace=self.folder, **more
        )

    def runtime(self) -> Runtime:
        return load(self.bundle.folder, adapters=self.root)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    place, told_events = Workspace.open(folder), list[Event]()
    make_bundle(make_fit(place, folder), folder / "made")
    with Store.open(place.store) as store:
        for who in (ANA, BEN):
            told(store, who, habit, range(120), MANNERS)
        told(store, CAT, right, range(45), MANNERS)
    shop = Shop(folder, (), ())  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        (head,) = shop.tuned("ben")
        (lora,) = shop.tuned("ana", rule=LORA, emit=told_events.append)
    return replace(shop, outcomes=(head, lora), told=tuple(told_events))


@pytest.fixture
def shop(made: Shop, tmp_path: Path) -> Shop:
    """A copy, to change."""
    shutil.copytree(made.folder, tmp_path / "shop")
    return replace(made, folder=tmp_path / "shop")


def logits(runtime: Runtime, texts: Sequence[str], users: Sequence[str | None]) -> Floats:
    assert runtime.adapted is not None
    store = runtime.adapted.store
    return runtime.logits(texts, [user and store.get(None, user) for user in users])


def test_a_lora_is_released_to_its_user_and_to_nobody_else(made: Shop):
    outcome = made.outcomes[1]
    assert (outcome.state, outcome.reason, outcome.method) == ("released", "better", "lora")
    assert (outcome.strength, outcome.look) == (10.0, 1)
    assert outcome.low is not None
    assert outcome.low > 0
    kept = read_adapter(made.root, None, "ana")
    assert (kept.kind, kept.verdict["n"]) == ("lora", outcome.n)
    runtime = made.runtime()
    for user, means in (("ana", habit), (None, right)):
        found = [one["best"] for one in runtime.predict(FRESH, user=user)]
        assert sum(best == means(topic) for topic, best in enumerate(found)) >= 8
    for user, tenant in (("cat", None), ("ana", "acme")):
        with pytest.raises(UnknownName, match=f"'{user}'"):
            runtime.predict(FRESH, user=user, tenant=tenant)


def test_what_is_served_is_what_the_merged_weights_answer(made: Shop):
    tensors = read_adapter(made.root, None, "ana").tensors
    fit = made.place.folder / FIT
    merged = load_fit(fit)
    with torch.no_grad():
        for name, module in merged.named_modules():
            if f"{name}.A" in tensors:
                more = tensors[f"{name}.B"] @ tensors[f"{name}.A"]
                module.weight += torch.from_numpy(more)  # type: ignore[operator]
        tokens = Reading.of(fit, "", 32, by_piece=False).tokens(FRESH)
        wanted = merged(*tokens.batch(np.arange(len(FRESH)))).numpy()
    found = logits(made.runtime(), FRESH, ["ana"] * len(FRESH))
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert np.abs(found - logits(made.runtime(), FRESH, [None] * len(FRESH))).max() > 0.1


def test_others_in_the_batch_are_answered_to_the_same_bits(made: Shop):
    runtime, users = made.runtime(), ["ben", None] * (len(FRESH) // 2)
    without = logits(runtime, FRESH, [None, *users])
    beside = logits(runtime, FRESH, ["ana", *users])
    np.testing.assert_array_equal(beside[1:], without[1:])
    assert np.abs(beside[0] - without[0]).max() > 0.01


def test_heads_loras_and_neither_share_a_batch(made: Shop):
    runtime = made.runtime()
    pairs = [(text, user) for text in FRESH for user in ("ana", "ben", None)]
    mixed = logits(runtime, [text for text, _ in pairs], [user for _, user in pairs])
    for row, (text, user) in zip(mixed, pairs, strict=True):
        np.testing.assert_allclose(row, logits(runtime, [text], [user])[0], atol=1e-5)


def test_a_base_that_heads_stood_on_is_raised_and_servers_are_to_start_anew(made: Shop):
    assert made.outcomes[0].state == "released", "ben's head was there before"
    said = [event.text for event in made.told if isinstance(event, Note)]
    assert any("Restart servers" in text for text in said)
    assert read_base(made.root).rank == LORA.rank
    assert made.runtime().predict(FRESH[1:2], user="ben")[0]["best"] == "refund"


def test_nothing_is_trained_where_nothing_changed_or_nothing_was_corrected(
    made: Shop, monkeypatch: pytest.MonkeyPatch
):
    def trained(*_: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(personal_lora, "fit_personal_lora", trained)
    (again,) = made.tuned("ana", rule=LORA)
    assert again == replace(made.outcomes[1], again=True)
    (content,) = made.tuned("cat", rule=LORA)
    assert (content.state, content.reason, content.method) == ("shared", "same", "lora")


def test_a_lora_stays_where_a_head_is_tuned_for_its_user_and_not_shown_to_be_better(shop: Shop):
    (outcome,) = shop.tuned("ana")
    assert outcome.method == "head"
    assert outcome.state == "kept"
    assert read_adapter(shop.root, None, "ana").kind == "lora"
    assert read_base(shop.root).rank == LORA.rank


def test_a_forgotten_user_leaves_no_lora(shop: Shop):
    place = adapter_folder(shop.root, None, "ana")
    assert list(place.glob("*.safetensors"))
    assert forget_user(shop.place, "ana", None, [shop.root]).adapters == 1
    assert not place.exists()
    with pytest.raises(UnknownName):
        shop.runtime().predict(FRESH, user="ana")
    assert shop.runtime().predict(FRESH[1:2], user="ben")[0]["best"] == "refund"


@pytest.mark.parametrize(
    ("lineage", "what"),
    [
        ({}, "does not say which fit"),
        ({"fit": "../../etc"}, "does not say which fit"),
        ({"fit": "fits/tiny/gone"}, "is not in"),
        ({"members": []}, "made of several models"),
    ],
)
def test_a_bundle_whose_fit_is_not_there_is_refused_before_anything_is_made(
    made: Shop, tmp_path: Path, lineage: dict, what: str
):
    fit = made.place.folder / FIT
    other = make_bundle(fit, tmp_path / "other", lineage=lineage)
    given = {"root": tmp_path / "adapters", "workspace": made.folder}
    with pytest.raises(ModelError, match=what):
        personalise(other.folder, Whom(("cat",)), rule=LORA, **given)
    assert not (tmp_path / "adapters").exists()


def test_a_fit_that_answers_otherwise_is_refused(made: Shop, tmp_path: Path):
    place = Workspace.open(tmp_path)
    make_fit(place, tmp_path)
    turned = load_fit(place.folder / FIT)
    with torch.no_grad():
        turned.head.weight.neg_()
    turned.save(place.folder / FIT)
    with pytest.raises(ModelError, match="does not answer as"):
        personalise(made.bundle.folder, Whom(("cat",)), rule=LORA, workspace=tmp_path)
    assert not (place.folder / "adapters").exists()


def test_a_graph_that_rounds_a_batch_to_one_range_takes_heads_alone(shop: Shop, tmp_path: Path):
    fit = shop.place.folder / FIT
    small = make_bundle(fit, tmp_path / "small", form="int8_dynamic")
    given = {"root": tmp_path / "adapters", "workspace": shop.folder}
    with pytest.raises(NothingToTune, match="another's answers") as caught:
        personalise(small.folder, Whom(("cat",)), rule=LORA, **given)
    assert "tune heads" in caught.value.fix
    said: list[Event] = []
    auto = Rule(method="auto")
    (outcome,) = personalise(small.folder, Whom(("cat",)), rule=auto, emit=said.append, **given)
    assert outcome.method == "head"
    notes = [event.text for event in said if isinstance(event, Note)]
    assert any(text.startswith("Heads alone.") for text in notes)
    assert read_base(tmp_path / "adapters").rank == 0


def test_the_cheapest_of_those_that_do_alike_is_taken():
    lesson = Lesson((), np.zeros((0, 0), np.float32), np.zeros(0, np.int64), np.zeros(0), 0)
    head, lora = Own("head", {}, 1.0, 0.5), Own("lora", {}, 1.0, 0.5)
    assert best_of((lambda _: head, lambda _: lora), lesson) is head
    better = replace(lora, loss=0.4)
    assert best_of((lambda _: head, lambda _: better), lesson) is better
