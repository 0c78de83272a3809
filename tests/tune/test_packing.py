"""Packed conversations: equal to each by itself, and only replies count."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_language_model
from sartor.tune.decoder import Decoder
from sartor.tune.packing import Lesson, Lessons
from tests.tiny import make_tiny_llama

LESSONS = [
    Lesson([5, 6, 7, 8, 9], 3, 2),
    Lesson([11, 12, 13], 2, 2),
    Lesson([21, 22, 23, 24, 25, 26, 27], 1, 2),
    Lesson([31, 32], 2, 2),  # an empty reply is its closing token
]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = make_tiny_llama(tmp_path_factory.mktemp("llama"))
    return find_backbone(str(folder), kind="llm")


@pytest.fixture
def decoder(llama):
    return Decoder(load_language_model(llama)).eval()


def alone(model, lesson: Lesson) -> torch.Tensor:
    """Mean loss of a reply's tokens by the model's own forward pass on one conversation."""
    logits = model(input_ids=torch.tensor([list(lesson.ids)])).logits[0]
    wanted = torch.tensor([*lesson.ids[lesson.begins :], lesson.close])
    return torch.nn.functional.cross_entropy(logits[lesson.begins - 1 :], wanted)


START = [50, 51, 52]
SHARED = [
    Lesson([*START, *lesson.ids], lesson.begins + len(START), lesson.close) for lesson in LESSONS
]


def packed(decoder: Decoder, lessons) -> torch.Tensor:
    return decoder(*Lessons.of(lessons).batch(np.arange(len(lessons))))


@pytest.mark.parametrize("lessons", [LESSONS, SHARED, SHARED[:1]], ids=["apart", "shared", "one"])
def test_a_packs_losses_are_those_of_its_conversations_alone(llama, decoder, lessons):
    plain = load_language_model(llama)
    found = -packed(decoder, lessons)[:, 0]
    wanted = torch.stack([alone(plain, lesson) for lesson in lessons])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lessons", [LESSONS, SHARED], ids=["apart", "shared"])
def test_a_packs_gradient_is_that_of_its_conversations_alone(llama, decoder, lessons):
    plain = load_language_model(llama)
    (-packed(decoder, lessons)[:, 0].mean()).backward()
    torch.stack([alone(plain, lesson) for lesson in lessons]).mean().backward()
    for (name, one), (_, other) in zip(
        decoder.decoder.named_parameters(), plain.named_parameters(), strict=True
    ):
        torch.testing.assert_close(
            one.grad,
            other.grad,
            rtol=1e-4,
            atol=1e-5,
            msg=lambda found, name=name: f"{name}: {found}",
        )


def test_the_softmax_of_a_conversation_is_its_probability(decoder):
    logits = packed(decoder, LESSONS)
    torch.testing.assert_close(logits.softmax(1)[:, 0], logits[:, 0].exp())


def test_what_stands_beside_a_conversation_changes_nothing(decoder):
    other = [replace(LESSONS[0], ids=[40, 41, 42, 43, 44]), *LESSONS[1:]]
    torch.testing.assert_close(packed(decoder, LESSONS)[1:], packed(decoder, other)[1:])


def test_only_what_the_reply_says_is_learnt():
    targets = Lessons(LESSONS).batch(np.arange(2))[2]
    assert targets.tolist() == [-1, -1, 8, 9, 2, -1, 13, 2]


def test_what_all_begin_with_is_read_once_and_never_a_reply():
    found = Lessons.of(SHARED)
    assert (Lessons.of(LESSONS).shared, found.shared) == (0, len(START))
    ids, positions, *_, mask = found.batch(np.arange(len(SHARED)))
    assert ids.shape[1] == len(START) + sum(len(lesson.ids) for lesson in LESSONS)
    assert positions[0, len(START) : len(START) + 5].tolist() == [3, 4, 5, 6, 7]
    assert mask.sum() == sum(len(lesson.ids) for lesson in SHARED)
    same = [Lesson([1, 2, 3, 4], 3, 9), Lesson([1, 2, 3, 4], 2, 9)]
    assert Lessons.of(same).shared == 1


def test_how_likely_replies_are_is_told_in_their_order(llama, decoder):
    plain = load_language_model(llama)
    found = decoder.right(LESSONS)
    assert [tokens for _, tokens in found] == [3, 2, 7, 1]
    for (log_p, tokens), lesson in zip(found, LESSONS, strict=True):
        assert log_p == pytest.approx(-alone(plain, lesson).item() * tokens, rel=1e-4)
