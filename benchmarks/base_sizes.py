"""Finding the nearest documents: all of them looked at, or those in a few cells.

    python -m benchmarks.base_sizes [--sizes 10000 20000 50000 100000] [--texts 16000]

MiniLM's vectors of the examples' texts, nearly all English, cut at 32 tokens, centred. Most texts
become documents, 512 others are asked: half of those choose how many cells are looked at, and all
lines are of the other half. No example holds a hundred thousand documents, so the base is grown:
each further document lies between one of the texts and one of its eight nearest, at a random place,
and is moved by a tenth of the way between them in a random direction. A base of other texts may
part less well, or better; what a run says of its own base counts.

Searches take one text at a time on one thread; the same texts are asked by both sides in turn.
Both search vectors as a bundle holds them: all, in float32 in memory; cells, mapped from files.
`--sizes 1000000` takes 8 GB of memory and five minutes; the default about three.
"""

import csv
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks._harness import ROOT, Interval, Line, arguments, bootstrap, finish, machine
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sartor.core.protocols import Floats
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.tasks.retrieval.cells import CODES, Cells, write_codes
from sartor.tasks.retrieval.index import INDEX, map_index, read_index, similar, write_index
from sartor.tasks.retrieval.partition import NEAREST, cells_of

TEXTS = (
    ("answers/answers.csv", "text"),
    ("answers/reports.csv", "report"),
    ("reviews/reviews.csv", "text"),
    ("mood/tweets.csv", "text"),
    ("opinions/opinions.csv", "text"),
    ("duplicates/duplicates.csv", "request"),
    ("duplicates/duplicates.csv", "earlier"),
    ("topics/weaknesses.csv", "text"),
)
ASKED, NEIGHBOURS, ASIDE, LENGTH = 512, 8, 0.1, 32


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 20_000, 50_000, 100_000])
    parser.add_argument("--texts", type=int, default=16_000)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    texts = _texts()[: options.texts]
    vectors = _vectors([texts[at] for at in draw.permutation(len(texts))])
    asked, base = vectors[:ASKED], vectors[ASKED:]
    lines = [Line("Texts that documents are grown from", len(base), "")]
    with threadpool_limits(1):
        for size in options.sizes:
            lines += _measured(_grown(base, size, draw), asked)
            print("\n".join(map(str, lines[-7:])), flush=True)
    finish("base_sizes", facts, lines, {})


def _texts() -> list[str]:
    found: dict[str, None] = {}
    for name, column in TEXTS:
        with (ROOT / "examples" / name).open(encoding="utf-8", newline="") as file:
            found.update(dict.fromkeys(row[column] for row in csv.DictReader(file)))
    return list(found)


def _vectors(texts: Sequence[str]) -> Floats:
    source = TextEncoder(find_backbone("minilm"), None, settings=EncodeSettings(max_length=LENGTH))
    found = source.features(texts, [-1])
    return _unit(found - found.mean(0))


def _unit(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _grown(base: Floats, size: int, draw: np.random.Generator) -> Floats:
    """(size, width): the base, and what lies between its neighbours."""
    if size <= len(base):
        return base[:size]
    near = np.concatenate(
        [
            np.argpartition(-(base[at : at + 512] @ base.T), NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
            for at in range(0, len(base), 512)
        ]
    )
    found = np.empty((size, base.shape[1]), np.float32)
    found[: len(base)] = base
    for start in range(len(base), size, 50_000):
        count = min(50_000, size - start)
        one = draw.integers(len(base), size=count)
        between = base[near[one, draw.integers(NEIGHBOURS, size=count)]] - base[one]
        aside = draw.normal(size=between.shape).astype(np.float32)
        aside *= ASIDE * np.linalg.norm(between, axis=1, keepdims=True) / np.sqrt(base.shape[1])
        share = draw.random((count, 1), np.float32)
        found[start : start + count] = _unit(base[one] + share * between + aside)
    return found


def _measured(vectors: Floats, asked: Floats) -> list[Line]:
    size = f"{len(vectors):,} documents: "
    began = time.perf_counter()
    cells = cells_of(vectors, asked, vectors.astype(np.float16))
    built = time.perf_counter() - began
    told = asked[1::2]
    with tempfile.TemporaryDirectory() as place:
        index, codes = Path(place) / INDEX, Path(place) / CODES
        index.write_bytes(write_index(vectors))
        codes.write_bytes(write_codes(cells.codes))
        part = Cells(
            cells.means,
            cells.sizes,
            cells.document,
            cells.scale,
            np.load(codes, mmap_mode="r"),
            cells.looked,
            cells.recall,
        )
        mapped = map_index(index, len(vectors))
        whole = read_index(index, len(vectors))
        times: NDArray[np.float64] = np.empty((2, len(told)))
        shares: list[float] = []
        for row, text in enumerate(told):
            began = time.perf_counter()
            exact = similar(text[None], whole)[0]
            middle = time.perf_counter()
            found = part.logits(text[None], mapped)[0]
            times[:, row] = middle - began, time.perf_counter() - middle
            shares.append(len({*_first(exact)} & {*_first(found)}) / NEAREST)
        more = codes.stat().st_size + cells.means.nbytes + 12 * len(vectors)
        sizes = index.stat().st_size / 1e6, more / 1e6
    took = times * 1000
    ratio = bootstrap(
        [took[0], took[1]], lambda parts: float(np.median(parts[0]) / np.median(parts[1]))
    )
    looked = f"looking into {cells.looked:,} of {len(cells.sizes):,} cells"
    return [
        Line.of(f"{size}all", _median(took[0]), "ms"),
        Line.of(f"{size}{looked}", _median(took[1]), "ms"),
        Line.of(f"{size}less time in cells", ratio, "times"),
        Line.of(f"{size}ten nearest found in cells", _mean(shares), ""),
        Line(f"{size}making the cells, one thread", built, "s"),
        Line(f"{size}vectors", sizes[0], "MB"),
        Line(f"{size}what cells add", sizes[1], "MB"),
    ]


def _first(logits: Floats) -> list[int]:
    return np.argpartition(-logits, NEAREST - 1)[:NEAREST].tolist()


def _median(values: NDArray[np.float64]) -> Interval:
    return bootstrap([values], lambda parts: float(np.median(parts[0])))


def _mean(values: Sequence[float]) -> Interval:
    return bootstrap([np.array(values)], lambda parts: float(parts[0].mean()))


if __name__ == "__main__":
    main()
