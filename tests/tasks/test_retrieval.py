"""Retrieval: reading, the decision rule, the index on disk, BM25 and the loss."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from sartor.core.errors import BundleError, DataError
from sartor.core.likelihood import hits
from sartor.core.types import Examples
from sartor.need.grammar import parse_criterion
from sartor.tasks import Unreadable, agrees
from sartor.tasks._encoder.heads import Index, build_head
from sartor.tasks.retrieval import train
from sartor.tasks.retrieval.bm25 import WordIndex, terms
from sartor.tasks.retrieval.index import (
    SCALE,
    read_documents,
    read_index,
    similar,
    write_documents,
    write_index,
)
from sartor.tasks.retrieval.settling import fit_sureness, signs, sureness, temperature_of
from sartor.tasks.retrieval.spec import Retrieval
from sartor.tasks.retrieval.target import Documents, name_of
from sartor.tasks.retrieval.train import InBatch, mined
from sartor.tasks.retrieval.train import Retrieval as Trainer

NAMES = [f"d{i}" for i in range(12)]
TASK = Retrieval()


def examples(truth):
    ids = tuple(map(str, range(len(truth))))
    return Examples(ids, {"text": ids}, tuple(map(tuple, truth)))


def test_a_cell_names_documents_by_id_by_list_or_by_what_they_say():
    form = Documents().of(["refunds", "a; b", name_of("Send it back, please.")])
    read = {cell: form.value(form.read(cell)) for cell in ("refunds", "a; b", "[]")}
    assert read == {"refunds": ("refunds",), "a; b": ("a; b",), "[]": ()}
    assert form.value(form.read("Send it  back,\nplease.")) == (name_of("Send it back, please."),)
    both = form.read('["refunds", "Send it back, please."]')
    assert set(form.value(both)) == {"refunds", name_of("Send it back, please.")}
    with pytest.raises(Unreadable) as caught:
        form.read("refund")
    assert "'refund'" in caught.value.what
    assert "did you mean 'refunds'?" in caught.value.fix


def test_an_answer_that_names_some_of_the_right_documents_is_no_mistake():
    form = Documents()
    right = form.text(("a", "b"))
    assert agrees(form, form.text(("a",)), right)
    assert not agrees(form, form.text(("c",)), right)
    assert not agrees(form, form.text(("a",)), form.text(()))
    assert agrees(form, form.text(()), form.text(()))
    assert form.value(form.joined([right, form.text(("c",))])) == ("a", "b", "c")


def rows(count, seed=0, none=0.0):
    """(truth, logits): the right document is near, the nearer the more often it is first."""
    rng = np.random.default_rng(seed)
    truth, logits = [], rng.normal(0, 1, (count, len(NAMES))).astype(np.float32)
    for row in range(count):
        if rng.random() < none:
            truth.append(())
            continue
        right = int(rng.integers(len(NAMES)))
        logits[row, right] += rng.choice([1.0, 6.0])
        truth.append((NAMES[right],))
    return truth, logits


def test_sureness_is_calibrated_and_knows_rows_without_an_answer():
    truth, logits = rows(3000, none=0.3)
    marks = TASK.truth(examples(truth), NAMES)
    weights = fit_sureness(logits, marks, temperature_of(logits, marks))
    fresh, seen = rows(3000, seed=1, none=0.3)
    marks = TASK.truth(examples(fresh), NAMES)
    sure = sureness(signs(seen, temperature_of(seen, marks)), weights)
    right = hits(seen, marks)
    for low, high in ((0.0, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 1.0)):
        part = (sure >= low) & (sure < high)
        if part.sum() > 100:
            assert abs(sure[part].mean() - right[part].mean()) < 0.15
    none = np.array([not names for names in fresh])
    assert sure[none].mean() < sure[~none].mean() - 0.2


def test_few_rows_tell_a_share_and_nothing_of_what_sets_them_apart():
    truth, logits = rows(12)
    near, ahead, _ = fit_sureness(logits, TASK.truth(examples(truth), NAMES), 1.0)
    assert (near, ahead) == (0.0, 0.0)


def test_the_threshold_follows_the_criteria_or_the_rows_without_an_answer():
    truth, logits = rows(800, none=0.2)
    given = examples(truth)
    plain = TASK.settle(logits, given, NAMES, ())
    assert plain["answer_from"] == 0.5
    asked = parse_criterion("automation_rate[precision >= 0.9] >= 0.3")
    decision = TASK.settle(logits, given, NAMES, (asked,))
    answers = TASK.decode(logits, NAMES, decision)
    said = [(a["answer"], t) for a, t in zip(answers, truth, strict=True) if a["answer"]]
    assert len(said) / len(truth) >= 0.3
    assert np.mean([name in names for name, names in said]) >= 0.9
    all_answered, _ = rows(200)
    assert TASK.settle(logits[:200], examples(all_answered), NAMES, ())["answer_from"] == 0.0


def test_an_answer_lists_the_nearest_documents_and_quotes_them():
    logits = np.array([[1.0, 3.0, 2.0, *[-5.0] * 9], [0.0] * 12], np.float32)
    words = dict.fromkeys(NAMES, "words")
    decision = {"temperature": 1.0, "sureness": [0.0, 1.0, 0.0], "answer_from": 0.6, "shown": 3}
    one, tied = TASK.decode(logits, NAMES, decision | {"documents": words})
    assert [d["id"] for d in one["documents"]] == ["d1", "d2", "d0"]
    assert one["documents"][0]["text"] == "words"
    assert one["answer"] == "d1"
    assert one["confidence"] == pytest.approx(1 / (1 + math.exp(-1)), rel=1e-5)
    # Of equals the first are listed, and nothing is ahead of anything.
    assert [d["id"] for d in tied["documents"]] == ["d0", "d1", "d2"]
    assert tied["answer"] is None
    assert "0.50 < 0.60" in tied["reason"]
    assert TASK.likelihood(one, ("d1", "d2")) == pytest.approx(
        sum(d["score"] for d in one["documents"][:2])
    )
    assert TASK.likelihood(one, ()) == pytest.approx(1 - one["confidence"])
    assert 0 < TASK.likelihood(one, ("d9",)) < 0.01


def test_criteria_say_how_many_documents_an_answer_lists():
    truth, logits = rows(40)
    for text, shown in (("recall_at_50 >= 0.5", 50), ("recall_at_5 >= 0.5", 10)):
        decision = TASK.settle(logits, examples(truth), NAMES, (parse_criterion(text),))
        assert decision["shown"] == shown


def test_documents_and_index_come_back_and_damage_is_named(tmp_path):
    words = {"a": "one\u2028two\nthree", "b": "退款", "c": 'quo"te'}
    (tmp_path / "documents.jsonl").write_bytes(write_documents(words))
    assert read_documents(tmp_path / "documents.jsonl") == words
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    (tmp_path / "index.npy").write_bytes(write_index(vectors))
    found = read_index(tmp_path / "index.npy", 3)
    np.testing.assert_allclose(similar(vectors, found), SCALE * vectors @ vectors.T, atol=0.02)
    for damage, documents in ((b"", 3), (write_index(vectors), 4), (b"\x93NUMPY\x01\x00", 3)):
        (tmp_path / "index.npy").write_bytes(damage)
        with pytest.raises(BundleError, match=r"index\.npy"):
            read_index(tmp_path / "index.npy", documents)
    (tmp_path / "documents.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(BundleError, match=r"documents\.jsonl"):
        read_documents(tmp_path / "documents.jsonl")


def test_bm25_is_the_formula():
    said = ["the cat sat", "the dog sat on the cat", "a bird"]
    index = WordIndex.of(said)
    counts, mean = [s.split() for s in said], np.mean([3, 6, 2])

    def score(query, place):
        total = 0.0
        for term in query.split():
            having = sum(term in words for words in counts)
            times = counts[place].count(term)
            idf = math.log(1 + (3 - having + 0.5) / (having + 0.5))
            scale = 1.2 * (1 - 0.75 + 0.75 * len(counts[place]) / mean)
            total += idf * times * 2.2 / (times + scale) if times else 0.0
        return total

    queries = ["the cat", "bird bird", "nothing here"]
    wanted = [[score(query, place) for place in range(3)] for query in queries]
    np.testing.assert_allclose(index.scores(queries), wanted, rtol=1e-12)


def test_texts_without_spaces_are_counted_by_neighbouring_characters():
    assert terms("我要退款 now") == ["我", "要", "退", "款", "我要", "要退", "退款", "now"]
    index = WordIndex.of(["如何申请退款", "发票在哪里开", "how to get a refund"])
    assert index.scores(["我要退款"]).argmax(1).tolist() == [0]


def test_mined_negatives_are_the_nearest_wrong_documents():
    documents = np.eye(4, 6, dtype=np.float32)
    texts = np.array([[1, 0.5, 0.2, 0.0, 0, 0], [0, 1, 0.9, 0.1, 0, 0]], np.float32)
    truth = np.array([[0, -1], [1, 2]])
    assert mined(texts, documents, truth, 2).tolist() == [[1, 2], [3, 0]]
    assert mined(texts, documents, truth, 5)[1].tolist() == [3, 0, -1, -1, -1]
    assert mined(texts, documents, truth, 0).shape == (2, 0)


class _Rows:
    """Documents as the ids of rows of a table, for a model that looks vectors up."""

    def lengths(self):
        return np.array([3, 1, 2, 1, 3])

    def batch(self, rows):
        ids = torch.from_numpy(np.asarray(rows))
        return ids.unsqueeze(1), torch.ones(len(rows), 1, dtype=torch.long)


class _Table(nn.Module):
    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(9, 4, generator=draw, dtype=torch.float64))

    def forward(self, ids, mask):
        return nn.functional.normalize(self.table[ids[:, 0]], dim=1)


def test_the_loss_tells_right_documents_from_those_of_the_batch_and_the_mined():
    model, scale = _Table(), torch.tensor(math.log(5.0), dtype=torch.float64)
    queries = torch.tensor([[5], [6], [7]])
    # Row 0: documents 0 and 1 right, 3 mined. Row 1: 0 right, 4 mined. Row 2: none is right.
    labels = torch.tensor([[0, 1, -2 - 3], [0, -1, -2 - 4], [-1, -1, -1]])
    lesson = InBatch(_Rows(), _Rows().lengths(), scale)
    found = lesson.loss(model, (queries, torch.ones_like(queries)), labels)
    unit = nn.functional.normalize(model.table, dim=1).float()
    z = 5.0 * unit[[5, 6]] @ unit[[0, 1, 3, 4]].T
    p = z.softmax(1)
    wanted = -(torch.log(p[0, 0] + p[0, 1]) + torch.log(p[1, 0])) / 2
    torch.testing.assert_close(found, wanted.to(found.dtype), rtol=1e-5, atol=1e-6)

    none = lesson.loss(model, (queries, torch.ones_like(queries)), torch.full((3, 2), -1))
    assert float(none.detach()) == 0.0
    none.backward()


def test_documents_that_are_read_in_groups_of_one_length_make_the_same_loss(monkeypatch):
    queries = torch.tensor([[5], [6]])
    labels = torch.tensor([[0, 1, -2 - 3], [2, -1, -2 - 4]])
    found = []
    for together in (24, 2):
        monkeypatch.setattr(train, "_TOGETHER", together)
        model, scale = _Table(), torch.tensor(1.0, dtype=torch.float64)
        lesson = InBatch(_Rows(), _Rows().lengths(), scale)
        loss = lesson.loss(model, (queries, torch.ones_like(queries)), labels)
        loss.backward()
        found.append((loss.detach(), model.table.grad))
    torch.testing.assert_close(found[0], found[1])


def test_the_gradient_of_the_loss_is_that_of_finite_differences():
    model, scale = _Table(), torch.tensor(1.0, dtype=torch.float64)
    queries = torch.tensor([[5], [6]])
    labels = torch.tensor([[0, -2 - 3], [1, -2 - 4]])
    lesson = InBatch(_Rows(), _Rows().lengths(), scale)

    def loss():
        return lesson.loss(model, (queries, torch.ones_like(queries)), labels)

    loss().backward()
    step = 1e-2  # The loss is in single precision.
    for at in ((5, 0), (0, 1), (3, 2)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                model.table[at] += sign * step
            values.append(float(loss().detach()))
            with torch.no_grad():
                model.table[at] -= sign * step
        slope = (values[0] - values[1]) / (2 * step)
        assert float(model.table.grad[at]) == pytest.approx(slope, abs=2e-3)


def test_the_loss_over_all_documents_counts_any_right_one():
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    labels = torch.tensor([[[0, 1]], [[-1, -1]]])
    p = logits.softmax(1)
    found = Trainer().loss(logits, labels, torch.ones(3), 0.0)
    torch.testing.assert_close(found, -torch.log(p[0, 0] + p[0, 1]))


def test_the_head_compares_in_a_space_of_its_own():
    head = build_head(4, 3, {"kind": "index", "width": 2})
    assert isinstance(head, Index)
    assert build_head(4, 3, head.shape()).vectors.shape == (3, 2)
    with torch.no_grad():
        head.project.copy_(torch.tensor([[1.0, 0], [0, 1], [0, 0], [0, 0]]))
        head.vectors.copy_(torch.tensor([[1.0, 0], [0, 1], [0, 0]]))
    x = torch.tensor([[3.0, 4.0, 9.0, 9.0]])
    torch.testing.assert_close(head(x), SCALE * torch.tensor([[0.6, 0.8, 0.0]]))


def test_a_base_of_one_document_is_refused():
    with pytest.raises(DataError, match="nothing to choose"):
        TASK.outputs(examples([["a"], ["a"]]), None)


def test_answers_survive_json():
    truth, logits = rows(30)
    decision = json.loads(json.dumps(TASK.settle(logits, examples(truth), NAMES, ())))
    assert json.loads(json.dumps(TASK.decode(logits, NAMES, decision)))
