"""Conversations: what they may be, and how they become token ids."""

import json

import pytest

from sartor.core.errors import BundleError
from sartor.llm.conversation import (
    Message,
    NoConversation,
    as_text,
    conversation_of,
    informed,
)
from sartor.llm.nearest import Nearest
from sartor.llm.written import Asked, Joints, Shown, WriterFile, asked, before_text, read_writer

USER = {"role": "user", "content": "hello"}


def messages(*roles: str) -> str:
    return json.dumps([{"role": role, "content": f"{role} {i}"} for i, role in enumerate(roles)])


@pytest.mark.parametrize("text", ["hello", "[1, 2]", '["a"]', "[", "[]", '{"role": "user"}', " [x"])
def test_a_text_that_is_no_list_of_messages_is_one_message(text):
    assert conversation_of(text) == (Message("user", text),)
    assert as_text(conversation_of(text)) == text


@pytest.mark.parametrize(
    "roles", [["user"], ["system", "user"], ["system", "user", "assistant", "user"]]
)
def test_a_conversation_comes_back_from_its_text(roles):
    found = conversation_of(messages(*roles))
    assert [message.role for message in found] == roles
    assert conversation_of(as_text(found)) == found


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (messages("assistant"), "turns"),
        (messages("user", "assistant"), "last message"),
        (messages("user", "user"), "turns"),
        (messages("user", "system", "user"), "system"),
        (messages("system"), "last message"),
        (messages("tool"), "role"),
        (json.dumps([{**USER, "content": " "}]), "says nothing"),
        (json.dumps([{**USER, "content": 3}]), "says nothing"),
        (json.dumps([{**USER, "content": "so \ud83d"}]), "message 0 holds half .* character 3"),
        (json.dumps([{**USER, "tools": []}]), "'tools'"),
        (json.dumps([USER] * 300), "300"),
    ],
)
def test_messages_that_cannot_be_replied_to_say_why(text, word):
    with pytest.raises(NoConversation, match=word) as told:
        conversation_of(text)
    assert told.value.fix


FILE = WriterFile(
    joints=Joints(first_system=[1], system_user=[2], first_user=[3], assistant=[4, 4], user=[5]),
    stop=[9],
    shown=[Shown(text=[70], reply=[71])],
    context=64,
    max_new_tokens=16,
    layers=2,
    heads=2,
    size=8,
)


def encode(text: str) -> list[int]:
    return [100 + ord(letter) - ord("a") for letter in text if letter.isalpha()]


def test_joints_stand_between_messages_and_examples_before_them():
    plain = asked(FILE, [Message("user", "ab")], encode, 60)
    assert plain.ids == (3, 70, 4, 4, 71, 5, 100, 101, 4, 4)
    assert plain.ids[: len(before_text(FILE))] == before_text(FILE)
    turns = [
        Message("system", "s"),
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c"),
    ]
    whole = asked(FILE, turns, encode, 60)
    assert whole.ids == (1, 118, 2, 70, 4, 4, 71, 5, 100, 4, 4, 101, 5, 102, 4, 4)
    assert whole.whole


def test_the_oldest_turns_go_first_and_then_the_end_of_the_last_message():
    turns = [Message("user", "a" * 9), Message("assistant", "b" * 9), Message("user", "c" * 9)]
    found = asked(FILE, turns, encode, 20)
    assert found.ids == (3, 70, 4, 4, 71, 5, *[102] * 9, 4, 4)
    assert not found.whole
    cut = asked(FILE, turns[2:], encode, 12)
    assert cut.ids == (3, 70, 4, 4, 71, 5, *[102] * 4, 4, 4)
    assert not cut.whole
    assert len(asked(FILE, turns, encode, 40).ids) <= 40


def test_a_system_message_is_cut_before_the_question_and_neither_below_half():
    def of(system: str, question: str, room: int):
        return asked(FILE, [Message("system", system), Message("user", question)], encode, room)

    # Nine of the tokens are neither: the template's, and an example.
    start, end = (1,), (2, 70, 4, 4, 71, 5)
    long = of("s" * 90, "abc", 29)
    assert len(long.ids) == 29
    assert long.ids[-5:] == (*encode("abc"), 4, 4)
    assert not long.whole
    both = of("s" * 90, "q" * 90, 29)
    assert (len(both.ids), both.ids.count(118), both.ids.count(116)) == (29, 10, 10)
    assert of("ss", "q", 29) == Asked((*start, 118, 118, *end, 116, 4, 4), whole=True)


def test_what_should_be_known_joins_the_system_message():
    said = conversation_of(messages("system", "user", "assistant", "user"))
    assert informed(said, [" ", ""]) == said
    known = informed(said, ["first\n", "second"])
    assert known[0] == Message("system", "system 0\n\nfirst\n\nsecond")
    assert known[1:] == said[1:]
    assert informed(said[1:2], ["first"])[0] == Message("system", "first")
    assert conversation_of(as_text(known)) == known


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 2}', FILE.to_json() + "x"])
def test_a_broken_writer_file_is_refused(tmp_path, text):
    (tmp_path / "writer.json").write_text(text)
    with pytest.raises(BundleError):
        read_writer(tmp_path / "writer.json")


def test_a_writer_file_is_read_back(tmp_path):
    (tmp_path / "writer.json").write_text(FILE.to_json())
    assert read_writer(tmp_path / "writer.json") == FILE


def test_the_nearest_text_replies():
    index = Nearest(
        ["my printer is broken", "where is my order", "订单在哪里"],
        ["restart it", "on its way", "在路上"],
    )
    assert index.find("the printers broke").text == "restart it"
    assert index.find("我的订单在哪").text == "在路上"
    exact = index.find("where is my order")
    assert (exact.text, exact.log_p) == ("on its way", pytest.approx(0.0, abs=1e-9))
    assert index.find("zzz").text == "restart it"
    told = json.dumps([USER, {"role": "assistant", "content": "hi"}, {**USER, "content": "order"}])
    assert index.find(told).text == "on its way"
