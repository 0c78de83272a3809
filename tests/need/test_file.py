"""need.yaml: all faults at once, each with its line, its near miss and its fix."""

import json
import time

import pytest

from sartor.core.errors import Fault, NeedError, UnknownName
from sartor.core.near import near_miss
from sartor.core.types import Roles
from sartor.need.file import MAX_BYTES, load_need, parse_need
from sartor.need.model import LocalLlm, Need

TEXT = Roles(inputs={"text": "text"}, targets={"label": "label"})
GOOD = """\
# yaml-language-server: $schema=need.schema.json
name: reviews
task: text_classification
data:
  train: reviews.csv
  text: review
  label: score
accept:
  - accuracy >= 0.80
  - recall[label=other] ≥ 75％
  - 'accuracy[where: lang == "zh"] >= 0.7'
budget: {minutes: 10}
"""


def roles_of(task: str) -> Roles:
    if task != "text_classification":
        fix = near_miss(task, ["text_classification"])
        raise UnknownName(f"No task is called {task!r}.", fix=fix)
    return TEXT


def read(text: str) -> Need:
    return parse_need(text, "need.yaml", roles_of)


def faults(text: str) -> list[Fault]:
    with pytest.raises(NeedError) as caught:
        read(text)
    assert caught.value.faults
    assert all(fault.fix for fault in caught.value.faults)
    return caught.value.faults


def test_a_good_file_becomes_a_need(tmp_path):
    path = tmp_path / "need.yaml"
    path.write_text(GOOD, encoding="utf-8")
    need = load_need(path, roles_of)
    assert need.data.train == ["reviews.csv"]
    assert need.data.roles == {"text": "review", "label": "score"}
    assert [c.metric for c in need.accept] == ["accuracy", "recall", "accuracy"]
    assert [c.line for c in need.accept] == [9, 10, 11]
    assert need.accept[1].threshold == 0.75
    assert need.budget.minutes == 10


def test_the_confidence_of_the_need_reaches_every_criterion():
    need = read(GOOD + "confidence: 0.9\n")
    assert {c.confidence for c in need.accept} == {0.9}


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "need.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_need(path, roles_of).name == "reviews"


def test_every_fault_is_reported_at_once_with_its_line_and_near_miss():
    found = faults(
        """\
nmae: reviews
task: text_clasification
data:
  train: reviews.csv
  feedback: maybe
accept:
  - accuracy >= high
  - 0.8
  - recall[label=other >= 0.7
budget:
  minuts: 10
  minutes: -3
seed: -1
language: fr
"""
    )
    lines = [fault.line for fault in found]
    assert lines == sorted(lines)
    by_line = {fault.line: fault for fault in found if fault.line}
    assert set(by_line) == {1, 2, 5, 7, 8, 9, 11, 12, 13, 14}
    assert "did you mean 'name'?" in by_line[1].fix
    assert "did you mean 'text_classification'?" in by_line[2].fix
    assert "'maybe'" in by_line[5].what
    assert "'high'" in by_line[7].what
    assert "0.8 is not a criterion" in by_line[8].what
    assert "did you mean 'minutes'?" in by_line[11].fix
    assert "-3" in by_line[12].what
    assert "-1" in by_line[13].what
    assert "'fr'" in by_line[14].what
    assert [fault.what for fault in found if not fault.line] == ["'name' is missing"]


def test_another_word_for_long_texts_is_refused_with_the_two_there_are():
    assert read(GOOD).prefer.long_texts == "cut"
    assert read(GOOD + "prefer: {long_texts: windows}\n").prefer.long_texts == "windows"
    (found,) = faults(GOOD + "prefer: {long_texts: window}\n")
    assert "'window'" in found.what
    assert found.fix == "write cut or windows."
    (found,) = faults(GOOD + "prefer: {long_text: cut}\n")
    assert "did you mean 'long_texts'?" in found.fix


def test_a_length_that_nothing_reads_is_refused_with_the_lengths_there_are():
    assert read(GOOD).prefer.max_length == 256
    assert read(GOOD + "prefer: {max_length: 64}\n").prefer.max_length == 64
    for wrong in ("8", "100000", "12.5", "long"):
        (found,) = faults(GOOD + f"prefer: {{max_length: {wrong}}}\n")
        assert found.fix == "write a whole number of tokens from 16 to 32768, e.g. 128."


def test_faults_on_one_line_do_not_hide_one_another():
    found = faults(GOOD.replace("{minutes: 10}", "{minuts: 10, memory_gb: -1, minutes: x}"))
    assert len(found) == 3
    assert {fault.line for fault in found} == {12}


def test_the_message_names_the_file_the_line_and_the_fix():
    with pytest.raises(NeedError) as caught:
        read(GOOD + "sed: 3\n")
    assert str(caught.value) == (
        "need.yaml has 1 fault.\n"
        "  need.yaml, line 13: unknown key 'sed'\n"
        "    Fix: did you mean 'seed'?"
    )


def test_a_missing_column_of_the_task_is_named():
    (fault,) = faults(GOOD.replace("  label: score\n", ""))
    assert fault.line == 4
    assert fault.what == "data.label is missing"


def test_a_column_must_be_one_name():
    (fault,) = faults(GOOD.replace("label: score", "label: [score, grade]"))
    assert fault.line == 7
    assert "score" in fault.what


def test_labels_are_read_as_they_are_written():
    labels = "[no, Yes, true, null, 007, 1.0, 1e3, 0x10, 2024-01-01, ~, 'on', \"a\\tb\"]"
    need = read(GOOD.replace("  text:", f"  labels: {labels}\n  text:"))
    assert need.data.labels == [
        *("no", "Yes", "true", "null", "007", "1.0", "1e3", "0x10", "2024-01-01"),
        *("~", "on", "a\tb"),
    ]


def test_yaml_no_is_a_label_and_a_file_name():
    need = read(
        GOOD.replace("label=other", "label=no")
        .replace("reviews.csv", "no")
        .replace("  text:", "  labels: [no, yes]\n  text:")
    )
    assert need.data.train == ["no"]
    assert need.data.labels == ["no", "yes"]
    assert need.accept[1].parameter("label") == "no"


@pytest.mark.parametrize(
    ("labels", "word"), [("[a, b, a]", "'a' is listed twice"), ("[a, '']", "empty")]
)
def test_repeated_and_empty_labels_are_faults(labels, word):
    (fault,) = faults(GOOD.replace("  text:", f"  labels: {labels}\n  text:"))
    assert word in fault.what
    assert fault.line == 6


def test_a_label_that_is_a_list_is_a_fault():
    (fault,) = faults(GOOD.replace("  text:", "  labels:\n    - a\n    - [b]\n  text:"))
    assert fault.line == 8
    assert "data.labels.1" in fault.what


def test_an_alias_bomb_is_refused_before_it_expands():
    bomb = 'a: &a ["x","x","x","x","x","x","x","x","x"]\n'
    for name, last in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]\n"
    began = time.process_time()
    (fault,) = faults(bomb)
    assert time.process_time() - began < 1
    assert fault == Fault(2, "alias *a is not allowed", "write it out.")


@pytest.mark.parametrize(
    "value", ["!!python/object/apply:os.system ['true']", "!include other.yaml", "!!str 3"]
)
def test_tags_are_refused(value):
    (fault,) = faults(GOOD + f"seed: {value}\n")
    assert fault.line == 13
    assert "tag" in fault.what


@pytest.mark.parametrize(
    "nested", ["[" * 500, "- " * 500, "\n".join("  " * i + "a:" for i in range(50))]
)
def test_deep_nesting_is_refused(nested):
    (fault,) = faults(nested)
    assert "levels deep" in fault.what


def test_ten_levels_are_only_an_unknown_key():
    (fault,) = faults(GOOD + "x: [[[[[[[[[1]]]]]]]]]\n")
    assert fault.what == "unknown key 'x'"


def test_every_repeated_key_is_a_fault_beside_the_others():
    found = faults(GOOD + "name: other\nbudget: {minutes: 1, minutes: 2}\nsed: 3\n")
    assert [(fault.line, fault.what) for fault in found] == [
        (13, "key 'name' is already on line 2"),
        (14, "key 'budget' is already on line 12"),
        (14, "key 'minutes' is already on line 14"),
        (15, "unknown key 'sed'"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "the file is empty"),
        ("# nothing but a comment\n", 1, "the file is empty"),
        ("- a\n- b\n", 1, "the top level is not a mapping"),
        ("just words\n", 1, "the top level is not a mapping"),
        ("name: [a\n", 2, "not YAML"),
        ("name: a: b\n", 1, "not YAML"),
        ("name: a\n\ttask: b\n", 2, "not YAML"),
        (GOOD + "---\nname: b\n", 13, "another document"),
        ("name: a\ntask: \x00\n", 2, "U+0000"),
        ("name: \ud800\n", 1, "U+D800"),
        ("%YAML 1.1\n---\nname: a\n", 2, "only YAML 1.2"),
    ],
)
def test_what_is_not_a_need_at_all_is_refused_with_its_line(text, line, what):
    (fault,) = faults(text)
    assert fault.line == line
    assert what in fault.what


@pytest.mark.parametrize(
    ("threshold", "fine"),
    [
        ("80%", True),
        ("80 ％", True),
        ("8e-1", True),
        (".8", False),
        ("0,8", False),
        ("80 percent", False),
        ("'0.8'", False),
        ("0.8%%", False),
        ("1e999", False),
    ],
)
def test_a_threshold_written_oddly_is_read_or_is_a_fault_on_its_line(threshold, fine):
    text = GOOD.replace("accuracy >= 0.80", f'"accuracy >= {threshold}"')
    if fine:
        assert read(text).accept[0].threshold == pytest.approx(0.8)
    else:
        assert [fault.line for fault in faults(text)] == [9]


def test_an_unquoted_slice_says_that_it_needs_quotes():
    (fault,) = faults(
        GOOD.replace("'accuracy[where: lang == \"zh\"] >= 0.7'", "a[where: b == 1] > 0")
    )
    assert fault.line == 11
    assert "quotes" in fault.fix


@pytest.mark.parametrize("accept", ["accept: accuracy >= 0.8", "accept: []", "accept:"])
def test_accept_must_be_a_list_that_holds_something(accept):
    start, end = GOOD.index("accept:"), GOOD.index("budget:")
    (fault,) = faults(GOOD[:start] + accept + "\n" + GOOD[end:])
    assert fault.line == 8


def test_more_criteria_than_anyone_means_are_refused():
    start, end = GOOD.index("accept:"), GOOD.index("budget:")
    many = "accept:\n" + "  - accuracy >= 0.8\n" * 201
    (fault,) = faults(GOOD[:start] + many + GOOD[end:])
    assert "200" in fault.what
    assert fault.line == 8


@pytest.mark.parametrize(
    "name", ["a/b", "../up", ".hidden", "", "a\nb", "x" * 101, "好" * 60, "ends.", '"\\ud800"']
)
def test_a_name_that_cannot_be_a_folder_is_refused(name):
    written = name if name.startswith('"') else f'"{name}"'.replace("\n", "\\n")
    (fault,) = faults(GOOD.replace("name: reviews", f"name: {written}"))
    assert fault.line == 2
    assert fault.what.startswith("name is")


@pytest.mark.parametrize("name", ["reviews", "客服 工单-2", "a.b_c", "7"])
def test_a_name_may_be_in_any_script(name):
    assert read(GOOD.replace("name: reviews", f'name: "{name}"')).name == name


@pytest.mark.parametrize("value", [".nan", ".inf", "0", "-1", "ten"])
def test_a_budget_must_be_a_number_above_zero(value):
    (fault,) = faults(GOOD.replace("minutes: 10", f"minutes: {value}"))
    assert fault.line == 12


@pytest.mark.parametrize("section", ["data: reviews.csv", "budget: 10", "prefer: [lora]"])
def test_a_section_that_is_no_mapping_says_how_to_indent(section):
    key = section.partition(":")[0]
    kept = "" if key == "data" else GOOD.replace("budget: {minutes: 10}\n", "")
    text = kept + section + "\n"
    assert f"{key} is not a mapping" in {fault.what for fault in faults(text)}


def test_a_file_that_is_missing_or_a_folder_is_said_so(tmp_path):
    for path, what in ((tmp_path / "none.yaml", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(NeedError, match=what):
            load_need(path, roles_of)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "need.yaml"
    path.write_bytes(GOOD.replace("reviews", "评论").encode("gb18030"))
    with pytest.raises(NeedError, match="is not UTF-8"):
        load_need(path, roles_of)


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / "need.yaml"
    path.write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(NeedError, match="are more than"):
        load_need(path, roles_of)


def test_a_big_file_within_the_limit_is_read_in_seconds():
    labels = "".join(f"    - label{i:05}\n" for i in range(5000))
    began = time.process_time()
    need = read(GOOD.replace("  text:", f"  labels:\n{labels}  text:"))
    assert time.process_time() - began < 10
    assert need.data.labels is not None
    assert len(need.data.labels) == 5000


def test_the_fingerprint_ignores_where_a_line_stands_but_not_what_it_says():
    moved = read("# a comment\n\n" + GOOD)
    assert read(GOOD).fingerprint() == moved.fingerprint()
    assert read(GOOD.replace("0.80", "0.81")).fingerprint() != moved.fingerprint()


def with_llm(llm: str) -> str:
    return f"{GOOD}prefer:\n  llm: {llm}\n"


def test_a_language_model_is_a_url_a_model_and_the_name_of_a_variable():
    llm = read(with_llm("{url: 'http://localhost:11434/v1/', model: qwen3, key: A_KEY}")).prefer.llm
    assert llm is not None
    assert (llm.url, llm.model, llm.key, llm.examples) == (
        "http://localhost:11434/v1",
        "qwen3",
        "A_KEY",
        8,
    )
    assert llm.allowance == "http://localhost:11434/v1=A_KEY"


def test_a_language_model_on_this_machine_is_a_name():
    for written, examples in [("smollm2", 8), ("{local: smollm2, examples: 2}", 2)]:
        need = read(with_llm(written))
        assert need.prefer.llm == LocalLlm(local="smollm2", examples=examples)
        assert need.prefer.llm_url is None
        assert read(json.dumps(need.as_mapping())).prefer == need.prefer


@pytest.mark.parametrize(
    ("llm", "words"),
    [
        ("[qwen3]", "llm: {url:"),
        ("5", "llm: smollm2"),
        ("{local: smollm2, url: 'http://a'}", "'url'"),
        ("{local: 5}", "prefer.llm.local"),
        ("{modell: x}", "'modell'"),
        ("{model: x}", "prefer.llm.url is missing"),
        ("{url: 'ftp://a', model: x}", "http:// or https://"),
        ("{url: 'http://me:pw-1@a', model: x}", "user or password"),
        ("{url: 'http://a?key=pw-1', model: x}", "query"),
        ("{url: 'http://a:99999999', model: x}", "prefer.llm.url"),
        ("{url: 'http://a', model: x, key: gsk_pw-1}", "name of an environment variable"),
        ("{url: 'http://a', model: x, key: gsk_pw}", "name of an environment variable"),
        ("{url: 'http://a', model: x, examples: 1000}", "64"),
    ],
)
def test_a_language_model_that_cannot_be_asked_is_refused_and_no_secret_is_shown(llm, words):
    with pytest.raises(NeedError) as error:
        read(with_llm(llm))
    assert words in str(error.value)
    assert "pw-1" not in str(error.value)
    assert "gsk_pw" not in str(error.value)


TABLE = """name: credit
task: tabular_text
data:
  train: credit.csv
  label: outcome
  {columns}
accept:
  - auc[label=bad] >= 0.7
"""


def of_table(task: str) -> Roles:
    if task == "tabular_text":
        return Roles({"text": "text"}, {"label": "label"}, optional=("text",), columns=True)
    return roles_of(task)


@pytest.mark.parametrize(
    ("columns", "kinds"),
    [
        ("columns: [age, amount]", {"age": "auto", "amount": "auto"}),
        ("columns: [age, amount: number]", {"age": "auto", "amount": "number"}),
        ("columns: {age: number, since: date}", {"age": "number", "since": "date"}),
    ],
)
def test_columns_are_a_list_or_a_mapping_to_what_they_hold(columns, kinds):
    need = parse_need(TABLE.format(columns=columns), "need.yaml", of_table)
    assert need.data.columns == kinds
    again = parse_need(json.dumps(need.as_mapping()), "need.yaml", of_table)
    assert again.fingerprint() == need.fingerprint()


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ("text: note", "data.columns is missing"),
        ("columns: []", "data.columns"),
        ("columns: age", "data.columns"),
        ("columns: [age, age]", "listed twice"),
        ("columns: {age: colour}", "data.columns.age"),
    ],
)
def test_columns_that_say_nothing_are_refused(columns, word):
    with pytest.raises(NeedError) as caught:
        parse_need(TABLE.format(columns=columns), "need.yaml", of_table)
    (fault,) = caught.value.faults
    assert word in fault.what
    assert fault.fix


def test_a_task_of_texts_has_no_columns():
    text = GOOD.replace("data:", "data:\n  columns: [age]")
    with pytest.raises(NeedError) as caught:
        parse_need(text, "need.yaml", roles_of)
    (fault,) = caught.value.faults
    assert "unknown key 'columns'" in fault.what
