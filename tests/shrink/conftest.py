from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.shrink.export import to_onnx
from sartor.tasks._encoder.model import TextClassifier
from sartor.testing.workbench import Workbench, workbench
from tests.exports import exported_once, filled_in, remembering
from tests.shrink.pupils import School, school
from tests.tiny import make_tiny_bert

__all__ = ["exported_once", "filled_in", "remembering"]


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Heads on the top, on the first layer and on both, of one backbone; the top of another."""
    place = tmp_path_factory.mktemp("graphs")
    made: dict[str, Path] = {}
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setenv("SARTOR_HOME", str(place / "home"))
        for name, seed, layers in (
            ("top", 0, (2,)),
            ("first", 0, (1,)),
            ("both", 0, (1, 2)),
            ("other", 1, (2,)),
        ):
            folder = make_tiny_bert(place / f"tiny{seed}", seed=seed)
            encoder, _ = load_text_backbone(find_backbone(str(folder)))
            torch.manual_seed(len(made))
            TextClassifier(encoder, 3, layers).eval().save(place / name)
            made[name] = place / f"{name}.onnx"
            to_onnx(place / name, "text_classification", made[name])
    return made


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """For compressors of graphs: a smaller model that has learnt something."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    made = workbench(tmp_path_factory.mktemp("bench"))
    torch.set_num_threads(before)
    return made


@pytest.fixture(scope="session")
def pupils(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    """A tiny model that has learnt something; on one thread, since bytes are compared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield school(tmp_path_factory.mktemp("school"))
    torch.set_num_threads(before)
