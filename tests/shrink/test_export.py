"""Export: the same answers, the same bytes, no trace of this machine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.shrink import export
from sartor.shrink.export import to_onnx
from sartor.tasks._encoder.model import TextClassifier
from tests.exports import ANEW
from tests.shrink.runs import compressed
from tests.tiny import make_tiny_bert


@pytest.fixture(scope="module", autouse=True)
def filled_in() -> Iterator[None]:
    """Here each export is made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "traced", ANEW)
        yield


@pytest.fixture(autouse=True)
def exported_once() -> None:
    """And made anew."""


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


def test_weights_that_two_passes_share_are_stored_once_as_products_read_them(
    tmp_path: Path,
):
    import onnx
    from transformers import BertConfig, BertModel

    from sartor.tasks.text_pair.train import PairClassifier
    from sartor.tasks.text_pair.train import load as load_pair

    # The exporter itself stores small weights as they are read.
    wide = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = BertModel(BertConfig(vocab_size=99, num_hidden_layers=1, **wide))
        model = PairClassifier(encoder, 2, (1,), symmetric=False).eval()
    model.save(tmp_path / "pair")
    to_onnx(tmp_path / "pair", "text_pair", tmp_path / "pair.onnx")
    graph = onnx.load(tmp_path / "pair.onnx").graph
    weights = {tensor.name for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    assert not [n for n in graph.node if n.op_type == "Transpose" and n.input[0] in weights]
    read = [node.input[1] for node in products if node.input[1] in weights]
    assert len(read) == 2 * len(set(read)) == 2 * 6  # 6 products in the layer
    sides: dict[str, np.ndarray] = {}
    for side, length in (("input_ids", 5), ("other_ids", 9)):
        sides[side], sides[side.replace("ids", "mask")] = batch(3, length)
    sides["attention_mask"] = sides.pop("input_mask")
    session = onnxruntime.InferenceSession(tmp_path / "pair.onnx")
    found = np.asarray(session.run(None, sides)[0])
    names = ("input_ids", "attention_mask", "other_ids", "other_mask")
    with torch.no_grad():
        wanted = load_pair(tmp_path / "pair")(*(torch.from_numpy(sides[name]) for name in names))
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)
    small = compressed("int8_dynamic", tmp_path / "pair.onnx", tmp_path / "small")
    assert small.stat().st_size < 0.6 * (tmp_path / "pair.onnx").stat().st_size
