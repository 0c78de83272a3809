"""Export: the same answers, the same bytes, no trace of this machine."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.shrink.export import to_onnx
from sartor.tasks._encoder.model import TextClassifier
from tests.shrink.runs import compressed
from tests.tiny import make_tiny_bert


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fitted model's folder, in a place whose name is easily searched for."""
    place = tmp_path_factory.mktemp("machine-of-mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SARTOR_HOME", str(place / "home"))
        backbone = find_backbone(str(make_tiny_bert(place / "tiny")))
    encoder, _ = load_text_backbone(backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TextClassifier(encoder, 3, (1, 2)).eval()
    (place / "fitted").mkdir()
    model.save(place / "fitted")
    return place / "fitted"


@pytest.fixture(scope="module")
def graph(fitted: Path) -> Path:
    to_onnx(fitted, "text_classification", fitted.parent / "model.onnx")
    return fitted.parent / "model.onnx"


def logits(graph: Path, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])


def batch(rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(rows * 100 + length)
    ids = draw.integers(5, 80, (rows, length))
    mask = (np.arange(length) < draw.integers(1, length + 1, (rows, 1))).astype(np.int64)
    return ids, mask


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 128), (7, 30)])
def test_the_graph_answers_as_the_model_at_any_batch_and_length(
    fitted: Path, graph: Path, rows: int, length: int
):
    from sartor.tasks.text_classification.train import load

    ids, mask = batch(rows, length)
    with torch.no_grad():
        wanted = load(fitted)(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(logits(graph, ids, mask), wanted, atol=1e-4)


def test_the_same_model_is_exported_to_the_same_bytes(fitted: Path, graph: Path, tmp_path: Path):
    to_onnx(fitted, "text_classification", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == graph.read_bytes()


def test_artefacts_hold_no_path_of_this_machine(graph: Path, tmp_path: Path):
    smaller = compressed("int8_dynamic", graph, tmp_path / "small")
    for path in (graph, smaller):
        content = path.read_bytes()
        for trace in (b"machine-of-mine", b"site-packages", b".py", b"/src/sartor"):
            assert trace not in content
