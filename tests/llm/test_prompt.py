import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.errors import BundleError, SettingError
from sartor.llm.access import check_access
from sartor.llm.prompt import FILE, Prompt, Shown, instructions, read_label, read_prompt, schema

OUTPUTS = ("refund", "other", "退款")
PROMPT = Prompt(
    url="http://127.0.0.1:1/v1",
    model="tiny",
    system=instructions(OUTPUTS, {"refund": "The customer\nwants money back."}),
    examples=[Shown(text="Give it back", label="refund")],
)


def test_the_labels_and_what_they_mean_come_first_then_examples_then_the_text():
    system, shown, answered, asked = PROMPT.messages("Where is it?")
    assert '- "refund": The customer wants money back.' in system["content"]
    assert '- "退款"' in system["content"]
    assert json.loads(shown["content"]) == {"text": "Give it back"}
    assert read_label(answered["content"], OUTPUTS) == "refund"
    assert asked == {"role": "user", "content": '{"text": "Where is it?"}'}


@given(st.text(max_size=200))
def test_whatever_a_text_says_it_stays_one_string_in_one_message(text: str):
    messages = PROMPT.messages(text)
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    assert json.loads(messages[-1]["content"]) == {"text": text}


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ('{"label": "refund"}', "refund"),
        ('\n```json\n{"label": "退款"}\n```\n', "退款"),
        ('<think>{"label": "other"}?</think>\n{"label": "refund"}', "refund"),
        ("refund", None),
        ("", None),
        ("[" * 90_000, None),
        ('{"label": "Refund"}', None),
        ('{"label": ["refund"]}', None),
        ('{"label": true}', None),
        ('{"label": "refund", "sure": 1}', None),
        ('{"label": "refund"} {"label": "other"}', None),
        ('{"label": "refund"}' + " " * 200_000, None),
        ('["label"]', None),
    ],
)
def test_only_one_label_in_the_agreed_form_counts(content: str, label: str | None):
    assert read_label(content, OUTPUTS) == label


def test_the_schema_names_the_labels_and_nothing_else():
    assert schema(OUTPUTS)["properties"]["label"]["enum"] == list(OUTPUTS)
    assert schema(OUTPUTS)["additionalProperties"] is False


def test_a_long_text_is_cut_and_what_is_cut_off_changes_no_question():
    short = PROMPT.model_copy(update={"max_chars": 10})
    assert short.address("0123456789 a", OUTPUTS) == short.address("0123456789 b", OUTPUTS)
    assert PROMPT.address("0123456789 a", OUTPUTS) != PROMPT.address("0123456789 b", OUTPUTS)


def test_a_prompt_is_read_as_it_was_written(tmp_path: Path):
    (tmp_path / FILE).write_text(PROMPT.to_json())
    assert read_prompt(tmp_path / FILE) == PROMPT


@pytest.mark.parametrize(
    "change",
    [
        {"url": "file:///etc/passwd"},
        {"url": "http://user:pass@host/v1"},
        {"url": "https://host/v1?key=1"},
        {"key": "lower"},
        {"format": 2},
        {"more": 1},
        {"max_chars": "9"},
    ],
)
def test_a_prompt_of_another_form_is_refused(tmp_path: Path, change: dict[str, object]):
    (tmp_path / FILE).write_text(json.dumps(json.loads(PROMPT.to_json()) | change))
    with pytest.raises(BundleError):
        read_prompt(tmp_path / FILE)


def test_a_prompt_that_is_huge_or_no_json_is_refused(tmp_path: Path):
    for content in ("[" * 90_000, " " * 4_000_001):
        (tmp_path / FILE).write_text(content)
        with pytest.raises(BundleError):
            read_prompt(tmp_path / FILE)


def test_a_server_is_asked_only_where_its_origin_is_allowed(monkeypatch):
    prompt = PROMPT.model_copy(update={"url": "http://localhost:11434/v1"})
    for allowed in ((), ("http://localhost:11435",), ("https://localhost:11434",)):
        with pytest.raises(BundleError, match=r"http://localhost:11434 \(model 'tiny'\)") as error:
            check_access(prompt, Path("b"), allowed)
        assert "--allow-llm http://localhost:11434" in error.value.fix
    check_access(prompt, Path("b"), ["http://localhost:11434/other"])
    monkeypatch.setenv("SARTOR_ALLOW_LLM", "https://a.example http://localhost:11434")
    check_access(prompt, Path("b"), ())


def test_an_allowed_server_gets_no_key_that_was_not_allowed_with_it():
    prompt = PROMPT.model_copy(update={"url": "https://a.example/v1", "key": "DATABASE_PASSWORD"})
    for allowed in ("https://a.example", "https://a.example=A_KEY"):
        with pytest.raises(BundleError, match="DATABASE_PASSWORD"):
            check_access(prompt, Path("b"), [allowed])
    check_access(prompt, Path("b"), ["https://a.example=DATABASE_PASSWORD"])


def test_an_allowance_that_is_no_url_is_refused_and_no_key_in_it_is_shown():
    for wrong in ("localhost:11434", "https://a.example=sk-secret"):
        with pytest.raises(SettingError, match="cannot be allowed") as error:
            check_access(PROMPT, Path("b"), [wrong])
        assert "sk-secret" not in str(error.value)
