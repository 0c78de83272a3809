"""What is served is what transformers writes, token by token: greedily and by beams."""

from functools import cache

import numpy as np
import pytest

from sartor.core.errors import BundleError
from sartor.models.catalogue import find_backbone
from sartor.serve.beams import Beams
from sartor.serve.opening import open_model
from sartor.serve.runtime import start
from sartor.serve.translator import Translator
from tests.tiny import make_tiny_seq2seq
from tests.translated import bundle_of, pairs, saved

KINDS = ["bart", "mbart", "m2m_100", "marian", "pegasus", "t5", "t5-gated"]
TEXTS = [*pairs(3).inputs["text"], "a good bad goo", "héllo </s> <|im_end|> 中文 🙂", "x"]
CASES = [(kind, beams, 1.0) for kind in KINDS for beams in (1, 3)]


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    def make(kind):
        folder = tmp_path_factory.mktemp("model") / kind
        return find_backbone(str(make_tiny_seq2seq(folder, kind)), kind="seq2seq")

    return cache(make)


@pytest.fixture
def backbone(backbones):
    return backbones("bart")


@pytest.mark.parametrize(
    ("kind", "beams", "penalty"), [*CASES, ("bart", 4, 0.0), ("mbart", 2, 2.5)]
)
def test_tokens_are_those_of_transformers(tmp_path, backbones, kind, beams, penalty):
    model, sides = saved(tmp_path, backbones(kind), beams, penalty)
    served = open_model(bundle_of(tmp_path, tmp_path / "bundle"), 1, None, ())
    assert isinstance(served, Translator)
    ours = served.written(TEXTS)
    sources = [model.file.read(sides.said(text)) for text in TEXTS]
    stop = model.file.stop[0]
    theirs = model._written(sources)
    assert [[*each.ids, *[stop] * each.closed] for each in ours] == theirs
    said = model.write(sources, sides)
    for one, other in zip(ours, said, strict=True):
        assert one.log_p / one.tokens == pytest.approx(other.log_p, abs=1e-3)
        assert (one.tokens, one.closed) == (other.tokens, other.ended)


def test_a_text_is_answered_alike_whatever_stands_beside_it(tmp_path, backbone):
    saved(tmp_path, backbone, 3)
    runtime = start(bundle_of(tmp_path, tmp_path / "bundle"), threads=1)
    together = runtime.predict(TEXTS)
    alone = [runtime.predict([text])[0] for text in TEXTS]
    assert [each["best"] for each in together] == [each["best"] for each in alone]
    assert len({each["best"] for each in together}) > 1, "all texts alike: a vacuous test"


def test_the_right_text_is_as_likely_as_the_model_says(tmp_path, backbone):
    model, sides = saved(tmp_path, backbone, 1)
    runtime = start(bundle_of(tmp_path, tmp_path / "bundle"), threads=1)
    rows = pairs(4)
    from sartor.tune.sides import Pairs

    theirs = model.right(Pairs.of(rows, sides, model.file))
    answers = runtime.decoded(runtime.scored(rows.texts, [str(t) for t in rows.target]))
    for answer, (log_p, tokens) in zip(answers, theirs, strict=True):
        assert answer["right"] == [pytest.approx(log_p, abs=1e-3), tokens]


def test_it_replies_to_no_conversation(tmp_path, backbone):
    saved(tmp_path, backbone, 1)
    runtime = start(bundle_of(tmp_path, tmp_path / "bundle"), threads=1)
    assert runtime.writes
    assert runtime.replies is None
    (answer,) = runtime.predict(['[{"role": "tool"}]'])
    assert set(answer) >= {"label", "best", "confidence", "tokens", "finish"}


def test_a_file_that_does_not_fit_its_graphs_is_refused(tmp_path, backbone):
    saved(tmp_path, backbone, 1)
    text = (tmp_path / "translator.json").read_text()
    (tmp_path / "translator.json").write_text(text.replace('"layers": 2', '"layers": 3'))
    with pytest.raises(BundleError, match="not the graph"):
        start(bundle_of(tmp_path, tmp_path / "bundle"), threads=1)


def chances(*rows):
    return np.log(np.array(rows, np.float32))


def test_a_beam_finds_what_the_likeliest_step_misses():
    # The first step prefers token 1, after which all is unlikely; 2 then 3 is likelier in all.
    greedy, wide = (Beams(1, count, 2, 0.0, [0]) for count in (1, 2))
    first = [0.01, 0.5, 0.48, 0.01]
    after = {1: [0.3, 0.25, 0.25, 0.2], 2: [0.01, 0.01, 0.02, 0.96]}
    for beams in (greedy, wide):
        tokens, _ = beams.step(chances(*[first] * beams.count))
        beams.step(chances(*[after[token] for token in tokens.tolist()]))
        assert beams.done
    assert greedy.ended()[0].ids == (1,)
    assert wide.ended()[0].ids == (2, 3)
    assert wide.ended()[0].log_p == pytest.approx(np.log(0.48 * 0.96), rel=1e-5)


def test_control_tokens_are_never_written():
    beams = Beams(1, 1, 3, 1.0, [0], silent=[1])
    while not beams.done:
        beams.step(chances([0.1, 0.8, 0.06, 0.04]))
    assert beams.ended()[0].ids == ()
