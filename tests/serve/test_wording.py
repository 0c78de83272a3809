"""What the server says of itself reaches the reader in the reader's language."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sartor
from sartor.serve.wording import language_of, worded, worded_answers
from sartor.tasks._decision.abstaining import unsure
from tests.serve.conftest import Serving

SOURCES = Path(sartor.__file__).parent
RAISED = {"RequestError", "Busy", "wrong", "NoList", "NoConversation", "Unfit"}
WHY = {"BROKEN", "_BROKEN", "_EMPTY", "_NOBODY", "_NOTHING", "_NOTHING_LEFT", "_NO_CASE", "_SILENT"}
STANDS = {
    "error.what": "the last message is not the user's",
    "error.fix": "put it first",
    "nearest(label, known)": "did you mean 'x'?",
    "fault['msg']": "Field required",
    "shown": " Got 7.",
    "form": "ids",
    "what": "a text or a mapping",
    "kind": "label",
}
"""Code in a gap to what may stand there; a number stands in all others."""
IN_PROCESS = {"runtime.py"}
"""Refuses what Python was given; no request gets so far."""


def sayings(node: ast.expr | None) -> list[str]:
    """Texts that an expression can be, with something in its gaps; none where it is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(said for value in node.values for said in sayings(value))]
    if isinstance(node, ast.FormattedValue):
        said = STANDS.get(ast.unparse(node.value), "7")
        return [f"'{said}'" if node.conversion == ord("r") else said]
    if isinstance(node, ast.IfExp):
        return sayings(node.body) + sayings(node.orelse)
    if isinstance(node, ast.BinOp):
        return [a + b for a in sayings(node.left) for b in sayings(node.right)]
    return []


def refusals() -> Iterator[tuple[str, str]]:
    """(file, sentence) of every error that is sent to whoever asks."""
    others = ("core/columns.py", "core/histories.py", "llm/conversation.py")
    served = [path for path in (SOURCES / "serve").glob("*.py") if path.name not in IN_PROCESS]
    # Programs talk the open protocol: its errors stay as they are.
    served = [path for path in served if not path.name.startswith("oip")]
    for path in [*served, *(SOURCES / name for name in others)]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
                for part in [*node.args, *(k.value for k in node.keywords if k.arg == "fix")]:
                    yield from ((path.name, said) for said in sayings(part))


def reasons() -> Iterator[tuple[str, str]]:
    """(file, sentence) of why a row has no answer."""
    yield "abstaining.py", unsure(0.4, 0.6)
    for path in [*SOURCES.glob("tasks/**/*.py"), SOURCES / "serve" / "composed.py"]:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign) and {ast.unparse(t) for t in node.targets} & WHY:
                yield from ((path.name, said.format("greet")) for said in sayings(node.value))


def test_every_refusal_and_every_reason_has_a_chinese_wording():
    found = sorted({*refusals(), *reasons()})
    assert len(found) > 100, "the extraction found too little; the test would be vacuous"
    assert [one for one in found if worded(one[1], "zh") == one[1]] == []


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (
            "Row 3 has 31,000 characters; at most 20,000 are taken.",
            "第 3 行有 31,000 个字符；最多接受 20,000 个。",
        ),
        ("inputs.0: Field required.", "inputs.0：缺少必填字段。"),
        (
            "Row 0, key 'unit price' is 'x', not a number.",
            "第 0 行，键 'unit price' 是 'x'，而不是数字。",
        ),
        ("user: Input should be a valid string. Got 7.", "user：应为字符串。收到的是 7。"),
        (
            "unit price is 9, outside the learnt 1 to 3.",
            "unit price 为 9，超出学习数据的范围 1 到 3。",
        ),
        ("a sentence of somebody else.", "a sentence of somebody else."),
    ],
)
def test_names_and_values_stand_in_the_wording_as_they_were(english, chinese):
    assert worded(english, "zh") == chinese
    assert worded(english, "en") == english


def test_reasons_and_notes_are_worded_down_to_the_parts_of_a_product():
    silent = {"label": None, "reason": unsure(0.4, 0.6)}
    answers = [
        {"outcome": "hand_off", "reason": "a complaint", "path": [{"part": "a", "answer": silent}]},
        {"label": "x", "notes": ["age is missing, which it never was in what was learnt from."]},
    ]
    handed, noted = worded_answers(answers, "zh")
    assert handed["reason"] == "a complaint", "a user's own words"
    assert handed["path"][0]["answer"]["reason"] == "把握低于所选阈值（0.40 < 0.60）"
    assert noted["notes"] == ["缺少 age，而学习数据中从未缺少。"]
    assert silent["reason"] == unsure(0.4, 0.6), "what is kept stays as it was said"
    assert worded_answers(answers, "en") is answers


@pytest.mark.parametrize(
    "path", ["/v1/predict", "/v1/chat/completions", "/nowhere", "/v1/feedback"]
)
def test_a_refusal_is_worded_for_whoever_asks(serving: Serving, path: str):
    with serving() as running:
        chinese = running.client.post(path, content=b"{}", headers={"accept-language": "zh-CN"})
        english = running.client.post(path, content=b"{}", headers={"accept-language": "*"})
    assert chinese.status_code == english.status_code >= 400
    assert chinese.headers["content-language"] == "zh"
    assert english.headers["content-language"] == "en"
    assert chinese.json()["error"].keys() == english.json()["error"].keys()
    for key in ("what", "fix"):
        said = chinese.json()["error"][key], english.json()["error"][key]
        assert any(ord(letter) > 0x3000 for letter in said[0]), said
        assert not any(ord(letter) > 0x3000 for letter in said[1]), said


def test_programs_of_the_open_protocol_read_english(serving: Serving):
    with serving() as running:
        reply = running.client.get("/v2/models/none", headers={"accept-language": "zh"})
    assert reply.json()["error"].isascii()


@pytest.mark.parametrize("accepted", ["", "*", "fr", "en-GB,zh;q=0.1"])
def test_who_asks_for_nothing_else_reads_english(accepted: str):
    assert language_of(accepted) == "en"
