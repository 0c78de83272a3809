"""A bundle answers in process, alike however it is asked, and refuses what it cannot use."""

import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers

import sartor
from sartor.bundle import Bundle, write_bundle
from sartor.core.errors import BundleError, RequestError, SettingError
from sartor.serve import graph
from sartor.serve.runtime import Runtime, UnreleasedWarning, load
from sartor.serve.timing import Load, measure


@pytest.fixture
def loaded(bundle: Bundle) -> Runtime:
    return load(bundle.folder, threads=1)


def test_answers_are_what_the_graph_says(loaded: Runtime):
    (answer,) = loaded.predict(["money back"])
    assert (answer["label"], answer["best"]) == ("refund", "refund")
    # Both words give the logits (4, 0, 0).
    expected = np.exp(4) / (np.exp(4) + 2)
    assert answer["probabilities"]["refund"] == pytest.approx(expected, abs=1e-5)
    assert list(answer["probabilities"]) == ["refund", "invoice", "other"]


def test_texts_and_mappings_are_the_same_row(loaded: Runtime):
    assert loaded.predict(["tax bill"]) == loaded.predict([{"text": "tax bill"}])
    assert sartor.load(loaded.bundle.folder).predict(["tax bill"]) == loaded.predict(["tax bill"])


def test_answers_keep_the_order_of_the_rows_across_batches(loaded: Runtime, monkeypatch):
    monkeypatch.setattr(graph, "BATCH_TOKENS", 16)
    words = ["money", "tax", "hello"]
    texts = [" ".join([words[i % 3]] * (1 + (i * 7) % 11)) for i in range(50)]
    alone = [loaded.predict([text])[0] for text in texts]
    assert loaded.predict(texts) == alone
    assert [a["label"] for a in alone[:3]] == ["refund", "invoice", "other"]


@pytest.mark.parametrize("seed", range(20))
def test_batches_hold_every_row_once_within_the_budget(seed: int):
    lengths = np.random.default_rng(seed).integers(1, 3_000, 200).tolist()
    batches = graph.batches(lengths)
    assert sorted(row for batch in batches for row in batch) == list(range(200))
    for batch in batches:
        padded = len(batch) * max(lengths[row] for row in batch)
        assert padded <= graph.BATCH_TOKENS or len(batch) == 1


def test_texts_of_unlike_length_do_not_share_a_batch():
    assert graph.batches([100, 5, 5, 5, 99, 5]) == [[1, 2, 3, 5], [4, 0]]
    # Each of the short ones would be padded: more than a pass of its own costs.
    assert graph.batches([5] * 20 + [6]) == [list(range(20)), [20]]
    assert graph.batches([5] * 5 + [6]) == [list(range(6))]
    spread = np.random.default_rng(0).integers(3, 300, 400).tolist()
    found = graph.batches(spread)
    waste = sum(len(rows) * max(spread[row] for row in rows) for rows in found) - sum(spread)
    assert waste + graph.PASS_TOKENS * len(found) < graph.PASS_TOKENS * 400


def test_a_text_beyond_the_models_length_is_cut(loaded: Runtime):
    assert loaded.predict(["money " * 32 + "tax " * 9_000]) == loaded.predict(["money"])


def test_no_rows_give_no_answers_and_an_empty_text_is_a_row(loaded: Runtime):
    assert loaded.predict([]) == []
    assert len(loaded.predict([""])) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "a"}, {"txt": "b"}], r"Row 1 has the key 'txt'.*\n.*did you mean 'text'"),
        ([{}], "Row 0 lacks the key 'text'"),
        ([{"text": 3}], "Row 0, key 'text' is int"),
        ([{"text": None}], "Row 0, key 'text' is NoneType"),
        (["a", 7], "Row 1 is int"),
        (["a\ud800b"], "Row 0, key 'text' holds half of a surrogate pair at character 1"),
        ("one text", "takes a list of rows, not one str"),
        ({"text": "a"}, "takes a list of rows, not one dict"),
    ],
)
def test_a_bad_row_is_named(loaded: Runtime, rows, said: str):
    with pytest.raises(RequestError, match=said):
        loaded.predict(rows)


def test_an_unsure_answer_has_no_label_and_a_reason(make_bundle: Callable[..., Bundle]):
    bundle = make_bundle(abstain_below=0.9)
    unsure, sure = load(bundle.folder).predict(["money tax", "money money"])
    assert unsure["label"] is None
    assert unsure["reason"]
    assert sure["label"] == "refund"


def test_an_unreleased_bundle_warns_or_is_refused(make_bundle: Callable[..., Bundle]):
    folder = make_bundle(released=False).folder
    with pytest.warns(UnreleasedWarning, match="not released"):
        load(folder)
    assert load(folder, unreleased="allow").predict(["money"])[0]["label"] == "refund"
    with pytest.raises(BundleError, match="not released") as caught:
        load(folder, unreleased="refuse")
    assert "--unreleased" in caught.value.fix


def test_one_flipped_bit_is_refused_by_file_name(bundle: Bundle):
    model = bundle.folder / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx differs"):
        load(bundle.folder)


def leading_outside() -> str:
    """A tokenizer that tokenizers reads without complaint, and that ends the process at a text."""
    tokenizer = Tokenizer(models.BPE())
    units = (0x1FFFFF << 10).to_bytes(4, "little") + bytes(1020)
    table = len(units).to_bytes(4, "little") + units + b"a\0"
    tokenizer.normalizer = normalizers.Precompiled(table)
    return tokenizer.to_str()


@pytest.mark.parametrize("crafted_file", ['{"model": {"type": "WordPiece"}}', leading_outside()])
def test_a_sealed_bundle_with_a_crafted_tokenizer_is_refused_by_its_file(
    bundle: Bundle, tmp_path, crafted_file
):
    crafted = tmp_path / "tokenizer.json"
    crafted.write_text(crafted_file)
    parts = {"model.onnx": bundle.path("model.onnx"), "tokenizer.json": crafted}
    sealed = write_bundle(tmp_path / "crafted", bundle.manifest, parts, "name: tickets\n")

    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokenizer"):
        load(sealed.folder, unreleased="allow")


def test_threads_below_one_are_refused(bundle: Bundle):
    with pytest.raises(SettingError, match=r"Got 0\."):
        load(bundle.folder, threads=0)


def test_a_notebook_shows_markup_of_the_name_as_text(make_bundle: Callable[..., Bundle]):
    shown = load(make_bundle(name="<script>x</script>").folder)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_many_threads_get_the_answers_they_asked_for(loaded: Runtime):
    from concurrent.futures import ThreadPoolExecutor

    words = ["money", "tax", "hello"] * 40
    with ThreadPoolExecutor(8) as pool:
        labels = list(pool.map(lambda word: loaded.predict([word])[0]["label"], words))
    assert labels == ["refund", "invoice", "other"] * 40


WITHOUT = """
import sys
for name in ("torch", "transformers", "fastapi", "sqlalchemy", "starlette", "uvicorn", "scipy",
             "sklearn", "polars", "alembic"):
    sys.modules[name] = None
import sartor
print(sartor.load(sys.argv[1]).predict(["money"])[0]["label"])
"""


def test_a_bundle_answers_with_the_first_install_tier_alone(bundle: Bundle):
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(bundle.folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.strip() == "refund", ran.stderr


def test_latency_is_measured_in_fresh_processes(bundle: Bundle):
    load = Load(requests=5, threads=1, processes=2, doubled=False)
    found = measure(bundle.folder, ["money back", "tax"], load)
    assert found.shape == (2, 5)
    assert (found > 0).all()
    assert (found < 5_000).all()


def test_nothing_to_time_is_refused_and_a_failing_process_is_reported(bundle: Bundle):
    with pytest.raises(SettingError, match="Nothing to time: 0 texts"):
        measure(bundle.folder, [])
    with pytest.raises(BundleError, match="is not a bundle"):
        measure(bundle.folder.parent, ["a"], Load(processes=1))


def test_timing_does_not_count_loading(bundle: Bundle):
    start = time.perf_counter()
    found = measure(bundle.folder, ["money"], Load(requests=3, threads=1, processes=1))
    whole = (time.perf_counter() - start) * 1e3
    assert found.sum() < whole / 2
