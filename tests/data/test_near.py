"""Near duplicates, in any script."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.data.near import near_clusters, near_form, near_pairs, similarity

PAIRS = {
    "chinese, one character changed": (
        "这家酒店的服务态度非常好，房间也很干净，下次还会再来住的",
        "这家酒店的服务态度非常好，房间也很干净，下次还会再来住了",
    ),
    "chinese, other punctuation and width": ("物流太慢了，我要退款！", "物流太慢了 我要退款!!"),
    "english, one word changed": (
        "The delivery took three weeks and the box was damaged when it finally arrived at my door",
        "The delivery took three weeks and the box was broken when it finally arrived at my door",
    ),
    "case and spaces": ("Great   PRODUCT, would buy again.", "great product would buy again"),
    "full-width letters": ("ＡＢＣ手机很好用", "abc手机很好用"),
    "emoji only": ("👍👍", "👍👍 "),
}
UNLIKE = {
    "chinese, short and different": ("这个很好吃", "这个很难吃"),
    "english, opposite command": ("turn on the kitchen light", "turn off the kitchen light"),
    "same template, other names": ("book a table in Paris", "book a flight to Rome"),
    "different emoji": ("👍", "👎"),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_near_duplicates_are_one_cluster(kind):
    one, other = PAIRS[kind]
    assert near_clusters([one, "something else entirely", other]).tolist() == [0, 1, 0]


@pytest.mark.parametrize("kind", UNLIKE)
def test_texts_that_say_different_things_are_apart(kind):
    assert near_clusters(list(UNLIKE[kind])).tolist() == [0, 1]


def test_similarity_is_jaccard():
    # " abc" + " " gives " ab", "abc", "bc ", "c "; " abd" shares the first only.
    assert similarity("abc", "abd") == pytest.approx(1 / 7)
    assert similarity("好吃", "好吃") == 1


def test_signatures_find_what_comparing_every_pair_finds():
    rng = random.Random(3)
    words = ["服务", "物流", "很好", "退款", "slow", "great", "service", "order", "发票", "late"]
    texts = [" ".join(rng.choices(words, k=9)) for _ in range(150)]
    texts += [text + rng.choice(["!", " ok", "的", " very"]) for text in texts]
    forms = [near_form(text) for text in texts]
    truth = {
        (i, j)
        for i, j in itertools.combinations(range(len(texts)), 2)
        if similarity(forms[i], forms[j]) >= 0.8
    }
    found = set(near_pairs(texts))
    # Texts equal in near form are only tied to the first of them.
    assert found <= truth
    clusters = near_clusters(texts)
    missed = [pair for pair in truth if clusters[pair[0]] != clusters[pair[1]]]
    assert len(truth) > 100, "too few near pairs for the comparison to mean anything"
    assert len(missed) <= len(truth) * 0.02


def test_thousands_of_texts_in_one_bucket_stay_tractable():
    texts = [f"订单 {i % 10} 的物流信息一直没有更新，请尽快帮我处理一下谢谢" for i in range(3000)]
    texts += [
        f"your parcel number {i} is waiting for you at the counter of the shop" for i in range(3000)
    ]
    clusters = near_clusters(texts)
    assert len(set(clusters[:3000].tolist())) == 1
    assert set(clusters[:3000].tolist()).isdisjoint(clusters[3000:].tolist())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=12))
def test_any_text_can_be_clustered_and_equal_texts_are_together(texts):
    clusters = near_clusters(texts + texts).tolist()
    assert clusters[: len(texts)] == clusters[len(texts) :]
    assert all(clusters[c] == c <= i for i, c in enumerate(clusters))
