"""Choices: the distribution over labels is that of a model that may write nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.tasks._encoder.choices import Choices

END = 9
labels = st.lists(
    st.lists(st.integers(0, 3), max_size=4).map(lambda ids: (*ids, END)),
    min_size=2,
    max_size=8,
    unique=True,
)


def score(led: tuple[int, ...], token: int) -> float:
    """What a model thinks of a token behind others: any numbers do, if they depend on both."""
    return math.sin(1 + sum((3 + i) * (t + 1) for i, t in enumerate((*led, token))))


def by_hand(labels: list[tuple[int, ...]], label: tuple[int, ...]) -> float:
    total = 0.0
    for place, token in enumerate(label):
        led = label[:place]
        going = {other[place] for other in labels if other[:place] == led}
        total += score(led, token) - math.log(sum(math.exp(score(led, t)) for t in going))
    return total


@given(labels)
def test_the_choices_give_each_label_what_constrained_writing_would(labels):
    found = Choices.among(labels)

    def led_to(place: int) -> tuple[int, ...]:
        return () if place < 0 else (*led_to(found.parents[place]), found.ids[place])

    logs = []
    for label, path in zip(labels, found.paths, strict=True):
        total = 0.0
        for choice in path:
            place = found.places[choice]
            rivals = [
                score(led_to(place), token)
                for token, at in zip(found.tokens, found.places, strict=True)
                if at == place
            ]
            mine = score(led_to(place), found.tokens[choice])
            total += mine - math.log(sum(map(math.exp, rivals)))
        assert total == pytest.approx(by_hand(labels, label))
        logs.append(total)
    assert sum(map(math.exp, logs)) == pytest.approx(1)


@given(labels)
def test_a_token_reads_what_leads_to_it_and_nothing_of_another_branch(labels):
    found = Choices.among(labels)
    for place, row in enumerate(found.sees()):
        led, step = set(), place
        while step >= 0:
            led.add(step)
            step = found.parents[step]
        assert {other for other, seen in enumerate(row) if seen} == led
        assert found.depths()[place] == len(led) - 1


def test_labels_that_differ_in_their_first_token_need_no_token_to_be_read():
    found = Choices.among([(5, 6, END), (7, END)])
    assert found == Choices((), (), (-1, -1), (5, 7), ((0,), (1,)))


@pytest.mark.parametrize("labels", [[(1, END), (1, END)], [(1,), (1, END)]])
def test_labels_that_cannot_be_told_apart_are_refused(labels):
    with pytest.raises(ValueError, match="beginning"):
        Choices.among(labels)
