"""Words and tags, in lines or in lists, to texts with labelled parts; and what is wrong."""

import json
import re

import polars as pl
import pytest

from sartor.core.errors import DataError
from sartor.data.check import check
from sartor.data.feedback import merge_feedback
from sartor.data.prepare import columns_of, divide, examples_of, gather
from sartor.data.profile import guess
from sartor.data.read import read
from sartor.data.table import FILE, ROW, SPLIT, Columns
from sartor.data.words import join_words, text_of
from sartor.need.model import Data
from sartor.tasks._target.spans import Spans

FORM = Spans()
CONLL = """-DOCSTART- -X- O O

EU NNP B-ORG
rejects VBZ O
German JJ B-MISC

# a comment
北 B-LOC
京 I-LOC
, O
OK O
"""


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_conll_lines_become_texts_with_parts(tmp_path):
    write(tmp_path / "news.conll", CONLL)
    table = read("news.conll", tmp_path)
    rows = [(r["text"], json.loads(r["entities"]), r[ROW]) for r in table.frame.to_dicts()]
    assert rows == [
        ("EU rejects German", [[0, 2, "ORG"], [11, 17, "MISC"]], 3),
        ("北京, OK", [[0, 2, "LOC"]], 8),
    ]


def test_conll_lines_tell_the_documents_of_each_file_apart(tmp_path):
    plain = "".join(f"word{i} O\n\n" for i in range(4))
    parted = "-DOCSTART- -X- O O\n\na O\n\nb O\n\n-DOCSTART-\n\nc O\n"
    for name, lines in (("one", parted), ("two", parted), ("plain", plain)):
        write(tmp_path / f"{name}.conll", lines)
    assert "document" not in read("plain.conll", tmp_path).columns
    found = read(["one.conll", "two.conll", "plain.conll"], tmp_path).frame["document"].to_list()
    assert found[0] == found[1] != found[2]
    assert len({*found[:6]}) == 4
    assert found[6:] == [None] * 4


def test_the_documents_of_conll_lines_are_found_as_groups(tmp_path):
    body = "".join(f"-DOCSTART-\n\nEU{i} B-ORG\nit O\n\nno{i} O\n\n\n" for i in range(30))
    write(tmp_path / "news.conll", body)
    assert guess(read("news.conll", tmp_path).frame, FORM).group == "document"
    data = Data(
        train=["news.conll"],
        roles={"text": "text", "label": "entities"},
        group="document",
        near_duplicates=False,
    )
    found = divide(gathered(tmp_path, data), wanted_test=12, seed=0, known={})
    sides = [set(side.extra["document"]) for side in (found.train, found.validation, found.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 30


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("EU B-ORG\nrejects\n", "line 2: 'rejects' has no tag"),
        ("EU ORG\n", "line 1: 'ORG' is no tag"),
        ("a S-X\n\nb E-X\nc O\n", "the text that begins in line 3: word 1 has the tag E-X"),
        ("a B-X\n\nb B-X\n\nc O\nd I-X\n", "line 5: an entity begins with I- here"),
        ("\n\n", "holds no words"),
    ],
)
def test_what_is_wrong_with_lines_is_told_with_its_line(tmp_path, lines, said):
    write(tmp_path / "bad.bio", lines)
    with pytest.raises(DataError, match=re.escape(said)) as told:
        read("bad.bio", tmp_path)
    assert said in told.value.what
    assert "bad.bio" in told.value.what


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["EU", "rejects", "."], "EU rejects ."),
        (["在", "北京", "，", "很", "好"], "在北京，很好"),
        (["用", "iPhone", "15", "拍"], "用iPhone 15拍"),
        (["서울", "에서"], "서울 에서"),
    ],
)
def test_words_stand_together_as_their_script_has_it(words, text):
    found, starts = text_of(words)
    assert found == text
    assert [text[s : s + len(w)] for s, w in zip(starts, words, strict=True)] == words


CHARACTERS = [
    (list("生于2003年3月"), [*"OO", "B-DATE", *["I-DATE"] * 6], "生于2003年3月"),
    # A label may not cut a run of letters in two: a space stays at its border.
    (list("Ilove花"), ["O", "B-X", "I-X", "I-X", "I-X", "O"], "I love花"),
    (list("GDP123"), ["O"] * 6, "GDP123"),
]


@pytest.mark.parametrize("kind", ["conll", "jsonl"])
def test_characters_with_a_tag_each_stand_together(tmp_path, kind):
    bodies = ["".join(f"{w} {t}\n" for w, t in zip(*row[:2], strict=True)) for row in CHARACTERS]
    if kind == "conll":
        write(tmp_path / "rows.conll", "\n".join(bodies))
        write(tmp_path / "words.conll", "我 O\nA O\nB O\n\nword O\n")
    else:
        jsonl(tmp_path / "rows.jsonl", *({"text": w, "entities": t} for w, t, _ in CHARACTERS))
        other = [{"text": list("我AB"), "entities": ["O"] * 3}]
        jsonl(tmp_path / "words.jsonl", *other, {"text": ["word"], "entities": ["O"]})
    table = read([f"rows.{kind}", f"words.{kind}"], tmp_path)
    frame = join_words(table, Columns("text", "entities", target=FORM)).frame
    texts = frame["text"].to_list()
    assert texts == [*(text for _, _, text in CHARACTERS), "我A B", "word"]
    parts = [json.loads(cell) for cell in frame["entities"]]
    assert [text[s:e] for text, row in zip(texts, parts, strict=True) for s, e, _ in row] == [
        "2003年3月",
        "love",
    ]


def need(**more):
    return Data(train=["rows.jsonl"], roles={"text": "text", "label": "label"}, **more)


def jsonl(path, *rows):
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def gathered(folder, data=None, **more):
    data = data or need()
    return gather(data, folder, known={}, columns=columns_of(data, ("text",), FORM), **more)


def test_lists_of_words_and_tags_are_joined(tmp_path):
    rows = [
        {"text": ["Rome", f"no{i}"], "label": ["B-LOC", "O"] if i % 2 else ["O", "O"]}
        for i in range(8)
    ]
    jsonl(tmp_path / "rows.jsonl", *rows)
    frame = gathered(tmp_path, need(near_duplicates=False)).cleaned.frame
    assert frame["text"].to_list()[1] == "Rome no1"
    assert json.loads(frame["label"].to_list()[1]) == [[0, 4, "LOC"]]
    assert guess(read("rows.jsonl", tmp_path).frame, FORM).label == "label"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": ["a", "b"], "label": ["O"]}, "row 2: there are 2 words and 1 tags"),
        ({"text": ["a b"], "label": ["O"]}, "row 2: word 1 is 'a b'"),
        ({"text": ["a"], "label": ["E-X"]}, "row 2: word 1 has the tag E-X"),
        ({"text": ["a"], "label": ["I-LOC"]}, "an entity begins with"),
        ({"text": "a b", "label": ["O", "O"]}, "row 2: column 'text' is 'a b', and in other rows"),
        ({"text": ["a"], "label": "O"}, "row 2: column 'label' is 'O', and in other rows"),
    ],
)
def test_words_and_tags_that_do_not_fit_are_told_with_their_row(tmp_path, row, said):
    good = {"text": ["Rome"], "label": ["B-LOC"]}
    jsonl(tmp_path / "rows.jsonl", good, row, good)
    with pytest.raises(DataError, match=re.escape(said)) as told:
        gathered(tmp_path)
    assert said in told.value.what
    columns = columns_of(need(), ("text",), FORM)
    found = check({"train": ["rows.jsonl"]}, tmp_path, columns)
    assert any(f.level == "fault" for f in found)


def test_every_row_whose_words_and_tags_do_not_fit_is_listed(tmp_path):
    good, bad = {"text": ["Rome"], "label": ["B-LOC"]}, {"text": ["a", "b"], "label": ["O"]}
    jsonl(tmp_path / "rows.jsonl", good, bad, good, {"text": "a", "label": ["O"]}, {"text": ["a"]})
    found = check({"train": ["rows.jsonl"]}, tmp_path, columns_of(need(), ("text",), FORM))
    assert [f.row for f in found if f.level == "fault"] == [2, 4]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ([[0, 4, "a"], [3, 6, "b"]], "overlap"),
        ([[0, 99, "a"]], "ends behind the text"),
        ([[0, 2, "a"]], "cuts 'Rome' in two"),
        ([{"start": 5, "end": 7, "label": "a", "text": "Rome"}], "and not 'Rome'"),
        ("LOC", "no list of labelled parts"),
    ],
)
def test_parts_that_cannot_be_are_told_with_file_and_row(tmp_path, label, said):
    good = {"text": "Rome is", "label": [[0, 4, "a"]]}
    jsonl(tmp_path / "rows.jsonl", good, {"text": "Rome in 30", "label": label})
    with pytest.raises(DataError, match=re.escape(said)) as told:
        gathered(tmp_path)
    assert said in told.value.what
    assert "rows.jsonl, row 2" in told.value.what
    assert told.value.fix


def test_parts_move_with_the_text_that_is_cleaned(tmp_path):
    rows = [
        {"text": f" in\u200b   Rome  {i}e\u0301", "label": [{"start": 7, "end": 11, "label": "a"}]}
        for i in range(12)
    ]
    jsonl(tmp_path / "rows.jsonl", *rows)
    data = need(near_duplicates=False)
    found = divide(gathered(tmp_path, data), wanted_test=3, seed=0, known={})
    for part in (found.train, found.validation, found.test):
        for text, (span,) in zip(part.texts, part.target, strict=True):
            assert text[span.start : span.end] == "Rome"
            assert text.startswith("in Rome ")
    fresh, dropped = examples_of("rows.jsonl", data, tmp_path, columns_of(data, ("text",), FORM))
    assert not dropped
    assert fresh.texts[0][fresh.target[0][0].start :].startswith("Rome")


def test_one_label_is_enough_and_a_label_alone_is_not(tmp_path):
    rows = [{"text": f"Rome {i}", "label": [[0, 4, "a"]] if i % 2 else []} for i in range(8)]
    jsonl(tmp_path / "rows.jsonl", *rows)
    assert gathered(tmp_path, need(near_duplicates=False)).label_counts() == {"a": 4}
    jsonl(tmp_path / "rows.jsonl", *rows, {"text": "Oslo", "label": [[0, 4, "b"]]})
    with pytest.raises(DataError, match="label 'b' occurs once"):
        gathered(tmp_path)
    with pytest.raises(DataError, match="'a' occurs 4 times and is not in the need's labels"):
        gathered(tmp_path, need(labels=["b", "c"]))


def test_a_correction_points_into_the_text_as_it_is_learnt_from():
    frame = pl.DataFrame(
        {"text": ["in  Rome", "Oslo"], "label": ['[[4, 8, "a"]]', "[]"], FILE: "f", ROW: [1, 2]}
    ).with_columns(pl.lit(None, dtype=pl.String).alias(SPLIT))
    columns = Columns("text", "label", target=FORM)
    said = [
        {"text": "in  Rome", "label": '[[4, 8, "b"]]'},
        {"text": "to   Paris", "label": '[[5, 10, "a"]]'},
        {"text": "to Bern", "label": '[[5, 10, "a"]]'},
    ]
    merged = merge_feedback(frame, said, columns=columns)
    rows = {r["text"]: json.loads(r["label"]) for r in merged.frame.to_dicts()}
    assert rows == {"in Rome": [[3, 7, "b"]], "Oslo": [], "to Paris": [[3, 8, "a"]]}
    assert [c.reason for c in merged.refused] == ["incomplete"]
    same = merge_feedback(frame, [{"text": "in  Rome", "label": '[[4, 8, "a"]]'}], columns=columns)
    assert not same.relabelled
