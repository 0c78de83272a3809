"""A search that looks at some of the documents: it finds what a whole search finds, and says so."""

import numpy as np
import pytest

from sartor.core.errors import BundleError
from sartor.tasks.retrieval import cells as form
from sartor.tasks.retrieval import partition
from sartor.tasks.retrieval.cells import CODES, read_cells, write_codes
from sartor.tasks.retrieval.index import similar
from sartor.tasks.retrieval.partition import cells_of, parted

WIDTH = 24


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(count, seed=0, topics=60):
    """Documents about topics, and texts about the same."""
    draw = np.random.default_rng(seed)
    middles = draw.normal(size=(topics, WIDTH))
    near = middles[draw.integers(topics, size=count + 200)]
    rows = unit(near + 0.5 * draw.normal(size=near.shape))
    return rows[200:].astype(np.float16), rows[:200]


@pytest.fixture(scope="module")
def made():
    vectors, asked = clustered(4000)
    return cells_of(vectors.astype(np.float32), asked, vectors), vectors, asked[1::2]


def exact(vectors, asked):
    return similar(asked, vectors.astype(np.float32))


def test_it_finds_what_a_whole_search_finds_and_tells_how_often(made):
    cells, vectors, asked = made
    right, found = exact(vectors, asked), cells.logits(asked, vectors)
    ten = [{*np.argsort(-row)[:10]} for row in right]
    same = [len(ten[row] & {*np.argsort(-found[row])[:10]}) / 10 for row in range(len(asked))]
    assert np.mean(same) == pytest.approx(cells.recall)
    assert cells.recall >= 0.98
    assert cells.looked < len(cells.sizes) / 2, "all are looked at: nothing is gained"


def test_the_best_have_the_similarities_of_a_whole_search_and_no_other_is_above_them(made):
    cells, vectors, asked = made
    right, found = exact(vectors, asked), cells.logits(asked, vectors)
    for row in range(len(asked)):
        best = np.argsort(-found[row], kind="stable")[: form.BEST]
        # Of equals at the end of the best some may be none of them.
        sure = best[found[row, best] > found[row, best[-1]]]
        np.testing.assert_allclose(found[row, sure], right[row, sure], atol=1e-4)
        assert len(sure) >= 100
    # What was not looked at stands for its cell, so that the shares of an exact search stay near.
    shares = [np.exp(each - 20).sum(1) for each in (found, right)]
    np.testing.assert_allclose(shares[0], shares[1], rtol=0.1)


def test_cells_come_back_from_their_files_and_damage_is_named(made, tmp_path):
    cells, vectors, asked = made
    file = tmp_path / CODES
    file.write_bytes(write_codes(cells.codes))
    found = read_cells(cells.tensors(), file, vectors)
    assert isinstance(found.codes, np.memmap)
    assert (found.looked, len(found.sizes)) == (cells.looked, len(cells.sizes))
    np.testing.assert_array_equal(found.logits(asked, vectors), cells.logits(asked, vectors))
    good = cells.tensors()
    twice = good["document"].copy()
    twice[0] = twice[1]
    for damage in (
        {"document": twice},
        {"document": good["document"] - 5},
        {"sizes": good["sizes"][:-1]},
        {"looked": np.array([0], np.float32)},
        {"looked": np.array([], np.float32)},
        {"scale": good["scale"][:-1]},
    ):
        with pytest.raises(BundleError, match=CODES):
            read_cells(good | damage, file, vectors)
    with pytest.raises(BundleError, match="vectors beside them"):
        read_cells(good, file, vectors[:-1])
    del good["means"]
    with pytest.raises(BundleError, match="hold no cells"):
        read_cells(good, file, vectors)
    file.write_bytes(b"")
    with pytest.raises(BundleError, match="hold no cells"):
        read_cells(cells.tensors(), file, vectors)


def test_few_documents_or_such_as_do_not_part_are_searched_as_a_whole(monkeypatch):
    vectors, asked = clustered(600)
    assert parted(vectors, asked) is None
    monkeypatch.setattr(partition, "FEWEST", 500)
    found = parted(*clustered(4000))
    assert found is not None
    draw = np.random.default_rng(0)
    alike = unit(draw.normal(size=(800, 200)))
    assert parted(alike[200:].astype(np.float16), alike[:200]) is None


def test_a_text_that_is_no_number_finds_nothing(made):
    cells, vectors, _ = made
    found = cells.logits(np.full((1, WIDTH), np.nan, np.float32), vectors)
    assert not np.isfinite(found).any()


def test_a_cell_for_each_document_still_holds_enough_to_list():
    vectors, asked = clustered(300)
    wide = vectors.astype(np.float32)
    cells = cells_of(wide, asked, vectors)
    few = form.Cells(cells.means, cells.sizes, cells.document, cells.scale, cells.codes, 1, 1.0)
    found = few.logits(asked[:5], vectors)
    for row in found:
        assert len(np.unique(row)) >= 100
