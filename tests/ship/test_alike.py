"""One bundle answers alike in every place that this machine can run."""

import json
from pathlib import Path

import pytest
from benchmarks._places import PLACES, emulated, missing, place, url_event

import sartor
from sartor.bundle import Bundle
from sartor.ship.api import Parcel
from tests.ship.places import lean_package, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
TEXTS = ["money back", "tax bill", "hello weather", "退款 money", "", "word " * 400]


def packaged(folder: Path) -> Path:
    return lean_package(folder, folder.parent / "package")


@pytest.mark.parametrize("name", PLACES[1:])
def test_labels_are_equal_and_probabilities_within_a_millionth(bundle: Bundle, name: str):
    if lacks := missing(name):
        pytest.skip(lacks)
    wanted = sartor.load(bundle.folder).predict(TEXTS)

    with place(name, bundle.folder, packaged) as ask:
        found = ask(TEXTS)

    assert [one["label"] for one in found] == [one["label"] for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


@pytest.mark.skipif(missing("lambda") != "", reason="needs the emulator")
def test_under_the_emulator_mistakes_are_told_and_the_function_lives_on(
    bundle: Bundle, tmp_path: Path
):
    write("lambda", tmp_path / "shipped", Parcel.of(bundle))
    with emulated(lean_package(tmp_path / "shipped", tmp_path / "package")) as invoke:
        assert invoke({"rows": []})["status"] == 422
        refused = invoke(url_event(b'{"inputs": 3}'))
        assert refused["statusCode"] == 422
        assert "inputs" in json.loads(refused["body"])["error"]["what"]
        assert invoke({"Records": []})["statusCode"] == 400
        assert invoke({"rows": ["tax"]})["outputs"][0]["label"] == "invoice"
