"""The decoder is the exact one, the rule follows the criteria, the loss is that of the pieces."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import DataError
from sartor.core.likelihood import NO_PIECE
from sartor.core.spans import Span
from sartor.core.types import Examples
from sartor.need.grammar import parse_criterion
from sartor.tasks._encoder.by_piece import at_pieces, real_tokens
from sartor.tasks.token_classification.spec import TokenClassification
from sartor.tasks.token_classification.tagging import (
    Sums,
    best_tags,
    entities,
    labels_of,
    log_shares,
    tags_of,
)
from sartor.tasks.token_classification.train import TokenClassification as Trainer

TASK = TokenClassification()


def rows(*pairs):
    texts = tuple(text for text, _ in pairs)
    return Examples(texts, {"text": texts}, tuple(spans for _, spans in pairs))


def possible(tags):
    before = 0
    for tag in tags:
        if tag and tag % 2 == 0 and before not in (tag, tag - 1):
            return False
        before = tag
    return True


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 2), st.integers(1, 4), st.integers(0, 10_000), st.floats(-2, 2))
def test_the_best_sequence_and_its_probabilities_are_those_of_all_sequences(
    labels, length, seed, outside
):
    outputs = 1 + 2 * labels
    z = np.random.default_rng(seed).normal(0, 2, (1, length, outputs)).astype(np.float32)
    shares = log_shares(z, 1.3, outside)
    every = [s for s in itertools.product(range(outputs), repeat=length) if possible(s)]
    score = np.array([sum(shares[0, t, tag] for t, tag in enumerate(s)) for s in every])
    total, best = np.exp(score).sum(), every[int(score.argmax())]
    tags, sums = best_tags(shares), Sums.of(shares)
    assert tuple(tags[0]) == best
    assert sums.of_tags(tags)[0] == pytest.approx(np.exp(score.max()) / total)
    for entity in entities(best):
        holds = [entity in entities(one) for one in every]
        wanted = np.exp(score)[holds].sum()
        assert sums.of_entity(0, *entity) == pytest.approx(wanted / total)


def test_a_model_that_prefers_what_is_no_answer_still_gives_one():
    outputs = tags_of(["a", "b"])
    z = np.full((1, 3, 5), -9.0, np.float32)
    z[0, 0, outputs.index("I-a")] = z[0, 1, outputs.index("I-b")] = z[0, 2, 0] = 9.0
    z[0, 0, outputs.index("B-a")] = 5.0
    z[0, 1, outputs.index("I-a")] = 4.0
    (answer,) = TASK.decode(z, outputs, {}, ["x y z"])
    assert [(e["text"], e["label"]) for e in answer["entities"]] == [("x y", "a")]
    assert 0 < answer["confidence"] <= answer["entities"][0]["confidence"] <= 1


def test_answers_are_places_of_characters():
    outputs = tags_of(["city"])
    text = "👍🏽 从北京 去 Rome"
    z = np.zeros((1, 8, 3), np.float32)
    z[0, :, 0] = 5
    z[0, [2, 3, 5], [1, 2, 1]] = 9
    (answer,) = TASK.decode(z, outputs, {}, [text])
    assert [(e["start"], e["end"], e["text"]) for e in answer["entities"]] == [
        (4, 6, "北京"),
        (9, 13, "Rome"),
    ]
    assert all(text[e["start"] : e["end"]] == e["text"] for e in answer["entities"])


def test_pieces_that_were_not_read_are_in_no_entity():
    outputs = tags_of(["a"])
    z = np.zeros((1, 2, 3), np.float32)
    z[0, 0, 1] = 4.0
    for width in (1, 2):
        (answer,) = TASK.decode(z[:, :width], outputs, {"outside": -3.0}, ["x y z"])
        assert [e["text"] for e in answer["entities"]] == ["x"]


def test_truth_is_a_tag_a_piece():
    examples = rows(
        ("in New York now", (Span(3, 11, "city"),)), ("北京", (Span(0, 2, "city"),)), ("", ())
    )
    outputs = TASK.outputs(examples, None)
    assert outputs == ["O", "B-city", "I-city"]
    assert labels_of(outputs) == TASK.labels(outputs) == ["city"]
    assert TASK.truth(examples, outputs).tolist() == [[0, 1, 2, 0], [1, 2, -1, -1], [-1] * 4]
    assert TASK.outputs(examples, ["b", "a"]) == ["O", "B-b", "I-b", "B-a", "I-a"]
    with pytest.raises(DataError, match="label 'city'"):
        TASK.truth(examples, tags_of(["place"]))
    with pytest.raises(DataError, match="No training row"):
        TASK.outputs(rows(("a", ())), None)


def doubtful(count=200, seed=0):
    """Rows of five words, of which some are names, and logits that lean too much to O."""
    draw = np.random.default_rng(seed)
    pairs, truth = [], []
    for _ in range(count):
        marks = draw.random(5) < 0.3
        spans = tuple(Span(2 * i, 2 * i + 1, "name") for i in range(5) if marks[i])
        pairs.append(("a b c d e", spans))
        truth.append(marks)
    z = draw.normal(0, 1, (count, 5, 3)).astype(np.float32)
    z[..., 2] = -9
    z[..., 0] += 2.5
    z[..., 1] += 2.5 * np.array(truth)
    return rows(*pairs), z


def test_criteria_move_how_readily_a_piece_is_outside():
    examples, z = doubtful()
    outputs = tags_of(["name"])

    def outside(*texts):
        return TASK.settle(z, examples, outputs, [parse_criterion(t) for t in texts])["outside"]

    plain = outside()
    assert plain < 0, "more is found than the model dares to say"
    assert outside("recall[label=name] >= 0.95") < outside("precision[label=name] >= 0.99")
    assert outside("precision_micro >= 0.99") > plain
    assert outside("recall[label=nobody] >= 0.9") == plain


def test_a_likelihood_is_lower_the_more_is_wrong():
    answer = {
        "entities": [{"start": 0, "end": 1, "label": "a", "text": "x", "confidence": 0.8}],
        "confidence": 0.7,
    }
    right = TASK.likelihood(answer, (Span(0, 1, "a"),))
    assert right == pytest.approx(0.8)
    assert TASK.likelihood(answer, ()) == pytest.approx(0.2)
    assert TASK.likelihood(answer, (Span(2, 3, "a"),)) < TASK.likelihood(
        answer, (Span(0, 1, "a"), Span(2, 3, "a"))
    )
    nothing = {"entities": [], "confidence": 0.9}
    assert TASK.likelihood(nothing, ()) == pytest.approx(0.9)
    assert TASK.likelihood(nothing, (Span(0, 1, "a"),)) == pytest.approx(0.1)


MASK = torch.tensor([[1, 2, 1, 3, 1], [1, 2, 1, 0, 0], [1, 1, 1, 0, 0]])
"""Pieces: one at token 1 and two at token 3; one at token 1; none."""


def test_the_mask_says_where_pieces_are_read():
    values = torch.arange(3 * 5 * 2, dtype=torch.float32).view(3, 5, 2) + 1
    found = at_pieces(values, MASK)
    assert torch.equal(found[0, :3], values[0, [1, 3, 3]])
    assert torch.equal(found[1, 0], values[1, 1])
    assert not found[0, 3:].any()
    assert not found[1, 1:].any()
    assert not found[2].any()
    assert real_tokens(MASK).tolist() == [[1] * 5, [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]


def test_the_loss_and_its_gradient_are_those_of_the_pieces_by_hand():
    torch.manual_seed(0)
    tokens = torch.randn(3, 5, 3, dtype=torch.float64, requires_grad=True)
    truth = torch.tensor([[1, 2, 0, 0], [0, NO_PIECE, NO_PIECE, NO_PIECE], [NO_PIECE] * 4])
    weights = torch.tensor([0.5, 1.0, 1.0])

    def loss(values):
        return Trainer().loss(at_pieces(values, MASK), truth, weights, 0.0)

    shares = tokens.detach().float().log_softmax(-1)
    # Row 0 has a fourth piece that no token is read for.
    picked = [(0, 1, 1), (0, 3, 2), (0, 3, 0), (1, 1, 0)]
    each = torch.stack([-weights[k] * shares[r, t, k] for r, t, k in picked])
    wanted = each.sum() / sum(weights[k] for _, _, k in picked)
    found = loss(tokens)
    torch.testing.assert_close(found.float(), wanted)
    found.backward()
    gradient = tokens.grad
    used = torch.zeros(3, 5, dtype=torch.bool)
    used[[0, 0, 1], [1, 3, 1]] = True
    assert gradient[used].abs().min() > 0
    assert not gradient[~used].any(), "padding, special tokens or further sub-words have a say"
    step = 1e-3
    for place in [(0, 1, 0), (0, 3, 2), (1, 1, 1)]:
        up, down = tokens.detach().clone(), tokens.detach().clone()
        up[place] += step
        down[place] -= step
        slope = (loss(up) - loss(down)) / (2 * step)
        assert float(gradient[place]) == pytest.approx(float(slope), abs=2e-3)


def test_focal_loss_weighs_sure_pieces_less_and_no_piece_costs_nothing():
    z = torch.zeros(1, 2, 3)
    z[0, 0] = torch.tensor([4.0, 0.0, 0.0])
    z[0, 1] = torch.tensor([0.0, 0.1, 0.0])
    truth, ones = torch.tensor([[0, 1]]), torch.ones(3)
    plain, focal = (Trainer(focal=f).loss(z, truth, ones, 0.0) for f in (0.0, 2.0))
    assert focal < plain
    none = torch.full((1, 2), NO_PIECE)
    assert float(Trainer().loss(z, none, ones, 0.0)) == 0.0
    assert Trainer(outside_weight=0.5).weights(np.zeros((1, 1), np.int64), 3).tolist() == [
        0.5,
        1,
        1,
    ]


def test_what_was_not_read_has_no_say_in_what_was():
    """A long text of which stretches were read is answered as those stretches are."""
    rng = np.random.default_rng(3)
    outputs = tags_of(["a", "b"])
    read = [0, 1, 2, 9, 10, 40]
    text = " ".join("x" * 1 for _ in range(50))
    z = np.zeros((2, 50, 5), np.float32)
    z[0, read] = rng.normal(0, 4, (6, 5))
    z[1, :3] = rng.normal(0, 4, (3, 5))
    both = TASK.decode(z, outputs, {}, [text, "x x x"])
    shares = log_shares(z[:1], 1.0, 0.0)
    wanted = [
        (2 * first, 2 * end - 1, ["a", "b"][label])
        for first, end, label in entities(best_tags(shares)[0].tolist())
    ]
    assert [(e["start"], e["end"], e["label"]) for e in both[0]["entities"]] == wanted
    sums = Sums.of(shares)
    assert both[0]["confidence"] == pytest.approx(sums.of_tags(best_tags(shares))[0], rel=1e-5)
    assert TASK.decode(z[1:, :3], outputs, {}, ["x x x"]) == both[1:]
    assert TASK.decode(z[1:], outputs, {}, ["x x x"]) == both[1:]
