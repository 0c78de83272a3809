"""Reviews whose words for good and bad come late: a need that asks for windows reads them."""

import random
from pathlib import Path

import pytest

from sartor.bundle import open_bundle
from sartor.serve.runtime import load
from tests.stories.shop import BAD, GOOD, Here, reviews, write_csv
from tests.tiny import make_tiny_bert

FILL = ("the", "a", "is", "was", "this", "that", "and", "it", "my", "order", "price", "taste")


def late(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Every third review comes after more filling than the model reads, and says it often."""
    draw, rows = random.Random(seed), list[tuple[str, str]]()
    for number, (text, label) in enumerate(reviews(count, seed)):
        if number % 3 == 0:
            fill = [draw.choice(FILL) for _ in range(40)]
            said = draw.choices(GOOD if label == "good" else BAD, k=12)
            text = " ".join([*fill, text, *said])
        rows.append((text, label))
    return rows


@pytest.fixture
def shop(new_shop: Path) -> Path:
    make_tiny_bert(new_shop / "tiny", max_length=32)
    write_csv(new_shop / "reviews.csv", late(400))
    return new_shop


def test_a_need_asks_for_windows_and_gets_what_it_was_judged_on(shop: Path, here: Here):
    need = (shop / "need.yaml").read_text().replace("./tiny]", "./tiny], methods: [static]")
    (shop / "need.yaml").write_text(need)
    told = here("plan", "need.yaml").err
    assert "% of the training texts are longer than the 32 tokens" in told
    (shop / "need.yaml").write_text(need.replace("[static]", "[static], long_texts: windows"))

    said = here("run", "need.yaml")

    assert "what is served reads them in windows" in said.err
    assert "Long texts in windows: against cut texts" in said.err
    (folder,) = (shop / ".sartor" / "bundles").iterdir()
    manifest = open_bundle(folder).manifest
    windows = manifest.preprocess.windows
    assert windows is not None
    assert (manifest.format, windows.stride, windows.most) == (2, 24, 8)
    assert "accuracy +" in manifest.lineage["windows"]
    assert "read in windows" in (folder / "README.md").read_text()
    fresh = late(90, seed=5)[::3]
    answers = load(folder, unreleased="allow").predict([text for text, _ in fresh])
    right = sum(a["best"] == label for a, (_, label) in zip(answers, fresh, strict=True))
    assert right >= 0.75 * len(fresh), "cut texts hold no word that tells"
