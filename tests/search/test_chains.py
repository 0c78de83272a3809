"""Compressors are composed, the quick ones first, only while size or speed is missed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from sartor.core.errors import NothingToShrink
from sartor.need.grammar import parse_criterion
from sartor.need.verdict import Verdict
from sartor.search.chains import Chain, compress, title, with_one_more
from sartor.shrink.api import COMPRESSORS

FACTORS: Mapping[str, tuple[float, float]] = {
    "int8_rows": (0.25, 0.6),
    "int8_dynamic": (0.25, 0.5),
    "optimise_graph": (1.0, 0.8),
    "int8_static": (0.25, 0.4),
    "fp16": (0.5, 1.0),
    "trim_vocabulary": (0.6, 1.0),
    "drop_layers": (0.7, 0.5),
    "prune_ffn": (0.8, 0.8),
    "static_student": (0.05, 0.02),
}
"""What each compressor here makes of size and time; the others find nothing to work on."""
VOID = {"int8_rows", "int8_dynamic", "int8_static", "fp16", "prune_ffn", "optimise_graph"}
"""What finds nothing to work on in a static student."""


@dataclass(frozen=True)
class Made:
    chain: Chain
    size_mb: float
    milliseconds: float
    holds_parity: bool
    verdicts: tuple[Verdict, ...] = ()


class Shop:
    """Makes forms by `FACTORS`, and keeps what it was asked for."""

    def __init__(self, *criteria: str, breaks: Sequence[str] = (), refuses: Sequence[str] = ()):
        self.asked = [parse_criterion(text) for text in criteria]
        self.breaks, self.refuses = breaks, refuses
        self.made, self.timed = list[Chain](), list[Chain]()
        self.offered = set[str]()

    def first(self) -> Made:
        return self._sized(Made((), 88.0, 20.0, holds_parity=True))

    def make(self, chain: Chain) -> Made:
        self.offered |= set(chain)
        void = chain[:1] == ("static_student",) and bool(set(chain) & VOID)
        if void or any(name not in FACTORS or name in self.refuses for name in chain):
            raise NothingToShrink("There is nothing.", fix="leave it.")
        self.made.append(chain)
        form = Made(chain, 88.0, 20.0, not set(chain) & set(self.breaks))
        for name in chain:
            size, time = FACTORS[name]
            form = replace(form, size_mb=form.size_mb * size, milliseconds=form.milliseconds * time)
        return self._sized(form)

    def clock(self, form: Made) -> Made:
        if not any(c.metric == "latency_p95_ms" for c in self.asked):
            return form
        self.timed.append(form.chain)
        return self._judged(form, "latency_p95_ms", form.milliseconds)

    def _sized(self, form: Made) -> Made:
        return self._judged(form, "size_mb", form.size_mb)

    def _judged(self, form: Made, metric: str, value: float) -> Made:
        found = tuple(
            Verdict(c.text, value, value, value, 0, "met" if value <= c.threshold else "unmet")
            for c in self.asked
            if c.metric == metric
        )
        return replace(form, verdicts=form.verdicts + found)

    def go(self, **more: Sequence[str]) -> list[Made]:
        return compress(self.first(), self.make, self.clock, self.asked, **more)


def test_what_holds_already_is_left_at_the_one_form_that_is_always_made():
    shop = Shop("accuracy >= 0.8", "size_mb <= 30")
    shop.asked = shop.asked[1:]
    assert [form.chain for form in shop.go()] == [(), ("optimise_graph", "int8_rows")]


def test_a_size_that_is_missed_is_eased_by_quick_compressors_before_any_that_trains():
    shop = Shop("size_mb <= 14")
    made = shop.go()
    assert ("trim_vocabulary", "optimise_graph", "int8_rows") in [f.chain for f in made]
    assert made[-1].size_mb == pytest.approx(13.2)
    assert not [c for c in shop.made if any(COMPRESSORS.get(n)().trains for n in c)]


def test_what_eases_only_size_is_not_tried_for_speed():
    shop = Shop("latency_p95_ms <= 6", refuses=["static_student"])
    shop.go()
    assert not [chain for chain in shop.made if "trim_vocabulary" in chain or "fp16" in chain]
    best = ("prune_ffn", "optimise_graph", "int8_static")
    assert best in shop.made, "put into the best chain so far"


def test_a_form_that_breaks_parity_is_made_known_but_not_built_upon():
    shop = Shop("size_mb <= 10", breaks=["trim_vocabulary"])
    chains = [form.chain for form in shop.go()]
    assert ("trim_vocabulary", "optimise_graph", "int8_rows") in chains
    assert not [c for c in chains if "trim_vocabulary" in c and len(c) > 3]


def test_training_for_eight_bits_waits_until_eight_bits_lose_something():
    quick = Shop("latency_p95_ms <= 0.01")
    quick.go()
    assert "quantise_aware" not in quick.offered, "the same graph, which is not fast enough"
    lossy = Shop("latency_p95_ms <= 0.01", breaks=["int8_dynamic"])
    lossy.go()
    assert "quantise_aware" in lossy.offered


def test_it_ends_as_soon_as_the_criteria_hold():
    shop = Shop("latency_p95_ms <= 0.5", "size_mb <= 5", refuses=["prune_ffn"])
    last = shop.go()[-1]
    assert last.chain == ("static_student",), "without what it cannot hold"
    assert last.milliseconds <= 0.5


def test_what_no_compressor_reaches_is_tried_to_the_end_and_each_chain_once():
    shop = Shop("size_mb <= 0.001", refuses=["static_student"])
    shop.go()
    assert len(shop.made) == len(set(shop.made))
    tried = {name for chain in shop.made for name in chain}
    assert "prune_weights" in COMPRESSORS.names()
    assert "prune_weights" not in shop.offered, "zeros make nothing smaller: by name only"
    assert tried == set(FACTORS) - {"int8_static", "static_student"} | ({"int8_static"} & tried)


def test_numbers_are_changed_again_once_the_weights_are_others():
    # An earlier bundle is int8 already: there is nothing left to quantise until neurons are pruned.
    shop = Shop(
        "size_mb <= 20",
        refuses=["trim_vocabulary", "fp16", "int8_rows", "int8_static", "static_student"],
    )
    plain = shop.make

    def make(chain: Chain) -> Made:
        if chain == ("int8_dynamic",):
            raise NothingToShrink("It is quantised.", fix="leave it.")
        return plain(chain)

    made = compress(shop.first(), make, shop.clock, shop.asked, ())
    assert ("prune_ffn", "int8_dynamic") in [form.chain for form in made]


def test_places_are_kept_and_one_place_holds_one():
    chain = with_one_more(("int8_dynamic",), "trim_vocabulary")
    assert chain == ("trim_vocabulary", "int8_dynamic")
    assert with_one_more(chain, "drop_layers") == ("drop_layers", *chain)
    assert with_one_more(("drop_layers",), "prune_ffn") == ("drop_layers", "prune_ffn")
    assert with_one_more(("drop_layers",), "static_student") == ("static_student",)
    assert with_one_more(chain, "int8_static") == ("trim_vocabulary", "int8_static")
    assert title(chain, "onnx") == "trim_vocabulary+int8_dynamic"
    assert title((), "onnx") == "onnx"


def test_what_is_named_is_tried_whatever_is_lacking():
    shop = Shop("size_mb <= 90")
    made = compress(shop.first(), shop.make, shop.clock, shop.asked, only=["fp16", "prune_ffn"])
    names = {name for each in made for name in each.chain}
    assert {"fp16", "prune_ffn"} <= names
    assert "drop_layers" not in shop.offered


def test_what_eases_nothing_is_tried_where_it_is_named():
    shop = Shop("size_mb <= 90")
    compress(shop.first(), shop.make, shop.clock, shop.asked, only=["prune_weights"])
    assert "prune_weights" in shop.offered
