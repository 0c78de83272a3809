"""Heads of users' own: released where they are better, and nothing changes for anybody else."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import sqlalchemy as sa

from sartor.bundle import Bundle, Learnt
from sartor.bundle.adapter import Adapter, delete_adapter, read_adapter, write_adapter
from sartor.bundle.base import read_base
from sartor.core.errors import (
    BundleError,
    DataError,
    Interrupted,
    SettingError,
    UnknownName,
    WorkspaceError,
)
from sartor.core.events import Event, StageProgress
from sartor.core.store import Store
from sartor.core.tables import deletions, feedback, look_rows, looks
from sartor.core.workspace import Workspace
from sartor.listen.by_user import Who, heard
from sartor.search.forgetting import forget_user
from sartor.search.personal_record import Outcome, Records
from sartor.search.personal_rows import halves, name_of
from sartor.search.personalising import Rule, Whom, personalise
from sartor.serve.runtime import load
from sartor.shrink.adaptable import make_base
from tests.search.personal import TOPICS, Manners, make_bundle, right, text_of, told

ANA, BEN = Who(None, "ana"), Who(None, "ben")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("tickets"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Workspace.open(tmp_path).store) as opened:
        yield opened


def habit(topic: int) -> str:
    """To this user, an invoice is a refund."""
    return "refund" if right(topic) == "invoice" else right(topic)


def tuned(
    bundle: Bundle, place: Path, *users: str, tenant: str | None = None, **more
) -> list[Outcome]:
    return personalise(
        bundle.folder, Whom(users, tenant), workspace=place, root=place / "adapters", **more
    )


def looked(store: Store) -> int:
    with store.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(looks)) or 0


def answers(bundle: Bundle, place: Path, user: str | None, tenant: str | None = None) -> list[str]:
    """To fresh texts on every topic."""
    runtime = load(bundle.folder, adapters=place / "adapters")
    fresh = [text_of(topic, 1_000 + topic) for topic in range(len(TOPICS))]
    return [one["best"] for one in runtime.predict(fresh, user=user, tenant=tenant)]


def test_a_habit_is_released_to_its_user_and_to_nobody_else(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, habit, range(90))
    told(store, Who("acme", "ana"), right, range(90))

    (outcome,) = tuned(bundle, tmp_path, "ana")

    assert (outcome.state, outcome.reason, outcome.look) == ("released", "better", 1)
    assert outcome.low is not None
    assert 0 < outcome.low < 1 / 3 < outcome.high
    topics = range(len(TOPICS))
    assert answers(bundle, tmp_path, "ana") == [habit(topic) for topic in topics]
    assert answers(bundle, tmp_path, None) == [right(topic) for topic in topics]
    with pytest.raises(UnknownName, match="'ana'"):
        answers(bundle, tmp_path, "ana", tenant="acme")
    verdict = read_adapter(tmp_path / "adapters", None, "ana").verdict
    assert verdict["gain"] == pytest.approx(outcome.gain)
    assert verdict["n"] == outcome.n


def test_a_bundle_in_8_bits_is_tuned_as_it_is_served(store: Store, tmp_path: Path):
    bundle = make_bundle(tmp_path / "small", int8=True)
    graph = onnx.load(bundle.path("model.onnx")).graph
    assert "MatMulInteger" in {node.op_type for node in graph.node}
    told(store, ANA, habit, range(90))
    (outcome,) = tuned(bundle, tmp_path, "ana")
    assert outcome.state == "released"
    assert answers(bundle, tmp_path, "ana") == [habit(topic) for topic in range(len(TOPICS))]
    assert answers(bundle, tmp_path, None) == [right(topic) for topic in range(len(TOPICS))]


def test_rows_that_judge_taught_nothing(bundle: Bundle, store: Store, tmp_path: Path):
    """The label of a judging row can be anything: the head that is tried stays the same."""
    told(store, ANA, habit, range(90))
    (before,) = tuned(bundle, tmp_path, "ana")
    head = read_adapter(tmp_path / "adapters", None, "ana").tensors["head.weight"]
    divided = halves(heard(store, ANA).rows, ANA)
    held = [row.request_id for row in divided.held]
    assert 25 < len(held) < 65
    assert not {row.text for row in divided.train} & {row.text for row in divided.held}
    with store.write() as connection:
        # Two judging rows less in favour: still released, by the same head.
        doubt = feedback.c.request_id.in_(held[:2])
        connection.execute(sa.update(feedback).where(doubt).values(label="other"))
    (after,) = tuned(bundle, tmp_path, "ana")
    assert not after.again
    assert after.n == before.n
    again = read_adapter(tmp_path / "adapters", None, "ana").tensors["head.weight"]
    assert (again == head).all()


def test_a_user_without_a_habit_stays_with_the_shared_model(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, right, range(90))
    (outcome,) = tuned(bundle, tmp_path, "ana")
    assert outcome.state == "shared"
    assert outcome.reason in ("same", "too few")
    assert looked(store) == 0


def test_too_few_corrections_spend_no_look_and_say_how_many_would_decide(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, habit, range(18))
    (outcome,) = tuned(bundle, tmp_path, "ana")
    assert (outcome.state, outcome.reason) == ("shared", "too few")
    assert "too few" in outcome.why
    assert outcome.gain is None
    assert looked(store) == 0


def test_answers_that_were_let_stand_speak_against_a_head_and_are_asked_about(
    bundle: Bundle, store: Store, tmp_path: Path
):
    """Most wrong answers go uncorrected: to count them as right is the safe mistake."""
    told(store, ANA, habit, range(180), Manners(0.4, 0.1))
    (outcome,) = tuned(bundle, tmp_path, "ana")
    assert outcome.state == "shared"
    assert outcome.ask
    assert {(one.shared, one.own) for one in outcome.ask} == {("invoice", "refund")}
    # Where the application asks about random answers, those that it did not ask about say nothing.
    told(store, BEN, habit, range(180), Manners(0.4, 0.4))
    (asked,) = tuned(bundle, tmp_path, "ben", rule=Rule(silence="nothing"))
    assert asked.state == "released"


def test_one_who_only_corrects_is_never_judged_on_corrections_alone(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, habit, range(180), Manners(confirms=0))
    (outcome,) = tuned(bundle, tmp_path, "ana", rule=Rule(silence="nothing"))
    assert (outcome.state, outcome.reason) == ("shared", "one-sided")
    (with_silence,) = tuned(bundle, tmp_path, "ana")
    assert with_silence.state == "released"


@pytest.mark.parametrize(("named", "texts"), [(True, False), (False, True)])
def test_where_answers_that_stood_are_not_known_nothing_is_judged(
    bundle: Bundle, store: Store, tmp_path: Path, named: bool, texts: bool
):
    told(store, ANA, habit, range(180), Manners(1, 0.1, named, texts))
    (outcome,) = tuned(bundle, tmp_path, "ana")
    assert (outcome.state, outcome.reason) == ("shared", "hidden")


def test_feedback_on_requests_that_named_nobody_teaches_and_does_not_judge(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, right, range(90))
    (before,) = tuned(bundle, tmp_path, "ana")
    told(store, ANA, habit, range(90, 180), Manners(named=False))
    (after,) = tuned(bundle, tmp_path, "ana")
    assert after.n == before.n
    assert after.corrections > before.corrections == 0


def test_the_next_look_waits_until_the_judging_rows_have_doubled(
    bundle: Bundle, store: Store, tmp_path: Path
):
    def unsteady(topic: int) -> str:
        return "refund" if topic == 1 else right(topic)

    # Corrected half of the time: the head is fitted, and not shown to be better.
    told(store, ANA, unsteady, range(270), Manners(0.5, 0))
    (first,) = tuned(bundle, tmp_path, "ana", rule=Rule(confidence=0.75))
    assert (first.state, first.reason, first.look) == ("shared", "not better", 1)
    told(store, ANA, unsteady, range(270, 300), Manners(0.5, 0))
    (second,) = tuned(bundle, tmp_path, "ana", rule=Rule(confidence=0.75))
    assert second.reason == "waiting"
    assert looked(store) == 1
    told(store, ANA, unsteady, range(300, 700))
    (third,) = tuned(bundle, tmp_path, "ana", rule=Rule(confidence=0.75))
    assert third.look == 2


def test_users_about_whom_nothing_changed_are_found_again(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, habit, range(90))
    told(store, BEN, right, range(90))
    first = tuned(bundle, tmp_path)
    second = tuned(bundle, tmp_path)
    assert [one.again for one in first] == [False, False]
    assert [one.again for one in second] == [True, True]
    assert [one.state for one in second] == [one.state for one in first]
    assert looked(store) == 1
    told(store, BEN, right, range(90, 99))
    assert [one.again for one in tuned(bundle, tmp_path)] == [True, False]


def test_a_call_that_is_interrupted_goes_on_where_it_was(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, habit, range(90))
    told(store, BEN, habit, range(90))

    def stop(event: Event) -> None:
        if isinstance(event, StageProgress):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="1 of 2 users"):
        tuned(bundle, tmp_path, emit=stop)
    assert [one.again for one in tuned(bundle, tmp_path)] == [True, False]


def test_a_head_that_does_worse_by_now_is_withdrawn(bundle: Bundle, store: Store, tmp_path: Path):
    told(store, ANA, habit, range(90))
    assert tuned(bundle, tmp_path, "ana")[0].state == "released"
    told(store, ANA, right, range(90, 450))
    (outcome,) = tuned(bundle, tmp_path, "ana")
    assert (outcome.state, outcome.reason) == ("shared", "withdrawn")
    with pytest.raises(UnknownName):
        answers(bundle, tmp_path, "ana")


def test_a_head_that_still_does_better_is_kept(bundle: Bundle, store: Store, tmp_path: Path):
    told(store, ANA, habit, range(90))
    assert tuned(bundle, tmp_path, "ana")[0].state == "released"
    told(store, ANA, habit, range(90, 108))
    (outcome,) = tuned(bundle, tmp_path, "ana")
    assert (outcome.state, outcome.reason) == ("kept", "waiting")
    assert answers(bundle, tmp_path, "ana")[1] == "refund"


def test_a_head_does_not_speak_for_itself_by_answers_that_were_let_stand(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, habit, range(90))
    (before,) = tuned(bundle, tmp_path, "ana")
    assert before.state == "released"
    # Its own answers, all of them let stand; where it answers as the shared one they count.
    told(store, ANA, habit, range(90, 180), Manners(0, 0, served=habit))
    (after,) = tuned(bundle, tmp_path, "ana")
    assert after.state == "kept"
    assert after.differing == before.differing
    assert after.n - before.n in range(20, 41)  # two thirds of the half of 90
    assert after.ask == ()


def test_a_call_that_was_killed_between_look_and_release_releases_without_another_look(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, habit, range(90))
    (first,) = tuned(bundle, tmp_path, "ana")
    delete_adapter(tmp_path / "adapters", None, "ana")
    Records(Workspace.open(tmp_path)).forget(ANA)
    (second,) = tuned(bundle, tmp_path, "ana")
    assert (second.state, second.look, second.again) == ("released", 1, False)
    assert second.gain == first.gain
    assert looked(store) == 1


def test_rows_that_the_bundle_was_fitted_on_judge_nothing(store: Store, tmp_path: Path):
    told(store, ANA, habit, range(90))
    ids = [name_of(row) for row in heard(store, ANA).rows]
    bundle = make_bundle(tmp_path / "fitted", learnt=Learnt.of(ids))
    (outcome,) = tuned(bundle, tmp_path, "ana")
    assert (outcome.state, outcome.reason, outcome.n) == ("shared", "too few", 0)


def test_a_label_that_the_bundle_lacks_is_named_and_costs_the_others_nothing(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, lambda topic: "complaint" if topic == 0 else right(topic), range(90))
    told(store, BEN, habit, range(90))
    with pytest.raises(DataError, match="'complaint'"):
        tuned(bundle, tmp_path, "ana")
    states = {one.user: one for one in tuned(bundle, tmp_path)}
    assert states["ana"].state == "refused"
    assert "'complaint'" in states["ana"].why
    assert states["ben"].state == "released"


def test_a_user_nobody_heard_of_is_named_with_the_tenant_that_knows_them(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, Who("acme", "ana"), habit, range(9))
    with pytest.raises(DataError, match="'ana'") as caught:
        tuned(bundle, tmp_path, "ana")
    assert "--tenant acme" in caught.value.fix


def test_adapters_of_another_bundle_are_not_written_over(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, habit, range(90))
    tuned(bundle, tmp_path, "ana")
    other = make_bundle(tmp_path / "other", seed=1)
    with pytest.raises(BundleError, match=bundle.manifest.id[:12]):
        tuned(other, tmp_path, "ana")
    assert answers(bundle, tmp_path, "ana")[1] == "refund"


def test_a_base_that_a_killed_call_left_half_made_is_made_anew(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, habit, range(90))
    folder = tmp_path / "adapters" / "base"
    folder.mkdir(parents=True)
    (folder / ".model.onnx.abcd1234").write_bytes(b"half")
    assert tuned(bundle, tmp_path, "ana")[0].state == "released"
    assert not list(folder.glob(".*"))
    (folder / "model.onnx").write_bytes(b"half")
    told(store, ANA, habit, range(90, 93))
    assert tuned(bundle, tmp_path, "ana")[0].state in ("kept", "released")
    assert answers(bundle, tmp_path, "ana") == [habit(topic) for topic in range(len(TOPICS))]


def test_two_calls_at_once_spend_one_look_and_end_alike(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, ANA, habit, range(90))
    told(store, BEN, right, range(90))
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: tuned(bundle, tmp_path), range(2))
    assert [each.state for each in one] == [each.state for each in other]
    assert sorted(each.again for each in (*one, *other)) == [False, False, True, True]
    assert looked(store) == 1


def test_a_full_disk_is_told_and_a_later_call_goes_on(
    bundle: Bundle, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told(store, ANA, habit, range(90))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    replace = os.replace
    for fails in ("model.onnx", "adapter.json", f"{ANA.name}.json"):
        monkeypatch.setattr(
            os, "replace", lambda a, b, at=fails: full() if str(b).endswith(at) else replace(a, b)
        )
        with pytest.raises(WorkspaceError, match="No space left"):
            tuned(bundle, tmp_path, "ana")
        monkeypatch.undo()
    assert tuned(bundle, tmp_path, "ana")[0].state in ("kept", "released")
    assert looked(store) == 1
    assert answers(bundle, tmp_path, "ana") == [habit(topic) for topic in range(len(TOPICS))]


def test_what_a_user_has_of_another_kind_gives_way_only_to_what_does_better(
    bundle: Bundle, store: Store, tmp_path: Path
):
    root = tmp_path / "adapters"
    base = make_base(bundle, root, rank=2)
    ((name, (width, height)),) = base.linears.items()
    tables = {f"{name}.A": np.ones((1, width)), f"{name}.B": np.zeros((height, 1))}
    for user, means in (("ana", habit), ("ben", right)):
        told(store, Who(None, user), means, range(90))
        write_adapter(root, None, user, Adapter(bundle.manifest.id, "lora", tables))
    assert [one.state for one in tuned(bundle, tmp_path, "ana", "ben")] == ["released", "kept"]
    assert [read_adapter(root, None, user).kind for user in ("ana", "ben")] == ["head", "lora"]
    assert read_base(root) == base, "what LoRAs stand on stays"


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("personalising", ("torch", "transformers", "onnx")),
        ("forgetting", ("torch", "scipy", "sklearn", "onnx", "onnxruntime")),
    ],
)
def test_who_only_serves_can_forget_and_tuning_takes_no_trainer(module: str, without: tuple):
    code = f"import sys, sartor.search.{module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert not set(without) & set(loaded.stdout.split())


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": 0.4},
        {"confidence": 1.0},
        {"silence": "maybe"},
        {"method": "full"},
        {"rank": 0},
    ],
)
def test_a_rule_that_cannot_hold_is_refused(wrong: dict):
    with pytest.raises(SettingError, match=str(next(iter(wrong.values())))):
        Rule(**wrong)


def test_a_forgotten_user_leaves_no_head_no_record_no_look_and_no_name(
    bundle: Bundle, store: Store, tmp_path: Path
):
    who = Who("acme", "ana-who-leaves")
    told(store, who, habit, range(90))
    told(store, Who("acme", "ben"), habit, range(90))
    tuned(bundle, tmp_path, tenant="acme")
    place = Workspace.open(tmp_path)

    gone = forget_user(place, "ana-who-leaves", "acme", [tmp_path / "adapters"])

    assert (gone.predictions, gone.feedback, gone.looks, gone.adapters) == (90, 90, 1, 1)
    with pytest.raises(UnknownName):
        answers(bundle, tmp_path, "ana-who-leaves", tenant="acme")
    assert answers(bundle, tmp_path, "ben", tenant="acme")[1] == "refund"
    with store.read() as connection:
        left = connection.execute(sa.select(looks.c.id)).all()
        marks = connection.scalars(sa.select(look_rows.c.look)).all()
        (line,) = connection.execute(sa.select(deletions.c.tenant, deletions.c.gone)).all()
    assert len(left) == 1
    assert set(marks) == {left[0].id}
    assert line.tenant == "acme"
    for file in tmp_path.rglob("*"):
        assert who.name not in str(file)
        assert not file.is_file() or b"ana-who-leaves" not in file.read_bytes()


def test_without_a_tenant_a_head_is_found_even_where_no_answer_is_left(
    bundle: Bundle, store: Store, tmp_path: Path
):
    told(store, Who("acme", "ana"), habit, range(90))
    personalise(bundle.folder, Whom(("ana",), "acme"), workspace=tmp_path)  # the usual folder
    with store.write() as connection:
        connection.exec_driver_sql("DELETE FROM predictions")
    assert forget_user(Workspace.open(tmp_path), "ana").adapters == 1
