"""The IMDb example, on a small folder of aclImdb's layout."""

from pathlib import Path

import pytest

from sartor.data.read import read_splits
from sartor.data.table import SPLIT
from sartor.need.file import load_need
from sartor.tasks import TASKS

EXAMPLE = Path(__file__).parents[2] / "examples" / "imdb"
REVIEWS = {"pos": "A film I will see again, {}.", "neg": "Two hours I will not get back, {}."}


@pytest.fixture
def acl_imdb(tmp_path):
    """Three reviews a class and split, named NUMBER_STARS.txt, and unlabelled ones beside them."""
    for split in ("train", "test"):
        for label, text in REVIEWS.items():
            folder = tmp_path / "aclImdb" / split / label
            folder.mkdir(parents=True)
            for i in range(3):
                (folder / f"{i}_{9 if label == 'pos' else 2}.txt").write_text(
                    text.format(f"{split} {i}"), encoding="utf-8"
                )
    unlabelled = tmp_path / "aclImdb" / "train" / "unsup"
    unlabelled.mkdir()
    (unlabelled / "0_0.txt").write_text("Nobody has judged this.", encoding="utf-8")
    (tmp_path / "aclImdb" / "imdb.vocab").write_text("a\nfilm\n", encoding="utf-8")
    return tmp_path


def test_the_need_reads_the_folder_and_keeps_train_and_test_apart(acl_imdb):
    need = load_need(EXAMPLE / "need.yaml", lambda task: TASKS.get(task)().roles)
    assert need.data.test is not None

    table = read_splits({"train": need.data.train, "test": need.data.test}, acl_imdb)

    frame = table.frame
    assert len(frame) == 12, "the unlabelled reviews are left out"
    assert set(frame[need.data.roles["label"]]) == {"pos", "neg"}
    tested = frame[SPLIT] == "test"
    assert tested.sum() == 6
    assert all(" test " in f" {text}" for text in frame.filter(tested)[need.data.roles["text"]])


def test_the_whole_folder_gives_the_same_rows_as_its_two_halves(acl_imdb):
    halves = read_splits({"train": ["aclImdb/train"], "test": ["aclImdb/test"]}, acl_imdb)
    whole = read_splits({"train": ["aclImdb"]}, acl_imdb)
    assert set(whole.frame["text"]) == set(halves.frame["text"])
    assert whole.frame[SPLIT].to_list().count("test") == 6


def test_the_hub_need_asks_for_the_same_as_the_folder_need():
    folder, hub = (
        load_need(EXAMPLE / name, lambda task: TASKS.get(task)().roles)
        for name in ("need.yaml", "need-hub.yaml")
    )
    assert hub.data.train == ["hub:imdb"]
    assert [c.text for c in hub.accept] == [c.text for c in folder.accept]
    assert hub.prefer == folder.prefer
