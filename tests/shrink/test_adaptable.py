"""A base answers as its bundle does, whatever form the graph has; zeros change nothing."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

from sartor.bundle import Bundle, Manifest, Preprocess, write_bundle
from sartor.bundle.base import GRAPH, Base, base_head, read_base, verified_base
from sartor.core.errors import BundleError, NothingToTune, SettingError
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.shrink.adaptable import make_base
from sartor.shrink.api import TOKENIZER, Form
from sartor.shrink.cascade import cascade_graphs
from sartor.shrink.compressors.fp16 import Fp16
from sartor.shrink.compressors.int8_dynamic import Int8Dynamic
from sartor.shrink.compressors.int8_rows import Int8Rows
from sartor.shrink.compressors.optimise_graph import OptimiseGraph
from sartor.shrink.eight_bits import in_eight_bits, products
from sartor.shrink.export import to_onnx
from sartor.shrink.lowrank import linears
from sartor.shrink.merge import merge_graphs
from sartor.tasks._encoder.model import TextClassifier
from tests.tiny import make_tiny_bert, tiny_tokenizer

RANK = 2
FORMS = {
    "float": (),
    "optimised": (OptimiseGraph(),),
    "int8": (Int8Dynamic(),),
    "optimised int8": (OptimiseGraph(), Int8Dynamic()),
    "int8 rows": (Int8Rows(),),
    "optimised int8 rows": (OptimiseGraph(), Int8Rows()),
    "fp16": (Fp16(),),
    "static int8": (),
    "optimised static int8": (OptimiseGraph(),),
}
APART = [form for form in FORMS if form not in ("int8", "optimised int8")]
"""Forms in which no row of a batch moves another."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph whose biases differ, as trained ones do: the exporter stores equal ones once."""
    place = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setenv("SARTOR_HOME", str(place / "home"))
        encoder, _ = load_text_backbone(find_backbone(str(make_tiny_bert(place / "tiny"))))
        torch.manual_seed(0)
        model = TextClassifier(encoder, 3, (2,)).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith("bias"):
                    weight.normal_(0, 0.1)
        model.save(place / "fit")
        to_onnx(place / "fit", "text_classification", place / "drawn.onnx")
    return place / "drawn.onnx"


def bundle_of(graph: Path, place: Path) -> Bundle:
    place.mkdir(parents=True, exist_ok=True)
    tiny_tokenizer().save(str(place / TOKENIZER))
    manifest = Manifest(
        format=1,
        id="",
        name="tiny",
        task="text_classification",
        inputs={"text": "text"},
        outputs=["a", "b", "c"],
        decision={},
        preprocess=Preprocess(max_length=32),
        files={},
        need={},
        lineage={},
    )
    content = {"model.onnx": graph, "tokenizer.json": place / TOKENIZER}
    return write_bundle(place / "bundle", manifest, content, "name: tiny\n")


def formed(graph: Path, form: str, place: Path) -> Path:
    for at, compressor in enumerate(FORMS[form]):
        folder = place / f"form{at}"
        folder.mkdir(parents=True)
        compressor.compress(Form(graph, place / "none"), folder, None)  # type: ignore[arg-type]
        graph = folder / "model.onnx"
    if "static" in form:
        place.mkdir(exist_ok=True)
        model = onnx.load(graph)
        read = {product.reads for product in products(model)}
        onnx.save(in_eight_bits(model, dict.fromkeys(read, (-6.0, 6.0)), read, 10_000), place / "s")
        graph = place / "s"
    return graph


def run(graph: Path, **more: np.ndarray) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    ids = draw.integers(0, 40, (5, 9))
    mask = (np.arange(9) < draw.integers(1, 10, (5, 1))).astype(np.int64)
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": ids, "attention_mask": mask} | more)


def tables(base: Base, rows: int, draw: np.random.Generator | None = None) -> dict:
    found = {}
    for name, (width, height) in base.linears.items():
        for side, shape in (("A", (rows, width, base.rank)), ("B", (rows, base.rank, height))):
            values = draw.normal(size=shape) / 4 if draw else np.zeros(shape)
            found[f"{name}.{side}"] = values.astype(np.float32)
    return found


@pytest.mark.parametrize("form", APART)
def test_a_base_answers_as_its_bundle_does(drawn: Path, form: str, tmp_path: Path):
    bundle = bundle_of(formed(drawn, form, tmp_path), tmp_path / "b")
    base = make_base(bundle, tmp_path / "root", rank=RANK)
    assert verified_base(tmp_path / "root", bundle.manifest.id, base.source)[0] == base
    (wanted,) = run(bundle.path("model.onnx"))
    for rows in (1, 5):
        found, features = run(tmp_path / "root" / "base" / GRAPH, **tables(base, rows))
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert features.shape == (5, base.features) == (5, 32)
    assert (base.outputs, base.rank) == (3, RANK)
    assert len(base.linears) == 12, "six in each of two layers"
    assert not base.shared, "below the first layer there is nothing worth it"


@pytest.mark.parametrize("form", FORMS)
def test_the_shared_head_is_the_one_that_answers(
    graphs: dict[str, Path], form: str, tmp_path: Path
):
    bundle = bundle_of(formed(graphs["both"], form, tmp_path), tmp_path / "b")
    base = make_base(bundle, tmp_path / "root")
    assert (base.features, base.rank, base.linears) == (64, 0, {})
    wanted, features = run(tmp_path / "root" / "base" / GRAPH)
    head = base_head(tmp_path / "root")
    found = features @ head["head.weight"].T + head["head.bias"]
    # A head in 8 bits rounds what it reads.
    np.testing.assert_allclose(found, wanted, atol=0.05 if "int8" in form else 1e-5)


def test_layers_are_called_as_the_modules_they_were_exported_from(drawn: Path, tmp_path: Path):
    for form in APART:
        graph = formed(drawn, form, tmp_path / form)
        base = make_base(bundle_of(graph, tmp_path / form), tmp_path / form / "root", rank=1)
        assert set(base.linears) == {
            f"encoder.encoder.layer.{layer}.{name}"
            for layer in (0, 1)
            for name in (
                "attention.self.query",
                "attention.self.key",
                "attention.self.value",
                "attention.output.dense",
                "intermediate.dense",
                "output.dense",
            )
        }
        assert base.linears["encoder.encoder.layer.1.output.dense"] == (64, 32)


def test_layers_that_share_their_bias_are_called_by_their_place(graphs: dict[str, Path]):
    found = list(linears(onnx.load(graphs["top"])))
    assert found[0] == "linear.0"
    assert len(found) == 12


def test_each_row_is_answered_as_by_its_own_merged_weights(drawn: Path, tmp_path: Path):
    bundle = bundle_of(drawn, tmp_path)
    base = make_base(bundle, tmp_path / "root", rank=RANK)
    given = tables(base, 5, np.random.default_rng(1))
    mixed, _ = run(tmp_path / "root" / "base" / GRAPH, **given)
    (plain,) = run(bundle.path("model.onnx"))
    for row in range(5):
        model = onnx.load(bundle.path("model.onnx"))
        _merge(model, base, {name: table[row] for name, table in given.items()})
        onnx.save(model, tmp_path / "merged.onnx")
        (wanted,) = run(tmp_path / "merged.onnx")
        np.testing.assert_allclose(mixed[row], wanted[row], atol=1e-5)
        assert np.abs(mixed[row] - plain[row]).max() > 1e-2, "the tables moved nothing"


def _merge(model: onnx.ModelProto, base: Base, own: dict[str, np.ndarray]) -> None:
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    for name in base.linears:
        (added,) = [n for n in model.graph.node if f"{name}.bias" in n.input]
        (product,) = [makers[i] for i in added.input if i in makers]
        tensor = weights[product.input[1]]
        merged = numpy_helper.to_array(tensor) + own[f"{name}.A"] @ own[f"{name}.B"]
        tensor.CopyFrom(numpy_helper.from_array(merged, tensor.name))


@pytest.mark.parametrize("form", ["int8", "optimised int8"])
def test_where_a_batch_shares_its_rounding_there_are_heads_and_no_tables(
    drawn: Path, form: str, tmp_path: Path
):
    bundle = bundle_of(formed(drawn, form, tmp_path), tmp_path / "b")
    with pytest.raises(NothingToTune, match="another's answers"):
        make_base(bundle, tmp_path / "root", rank=RANK)
    make_base(bundle, tmp_path / "root")
    (wanted,) = run(bundle.path("model.onnx"))
    found, _ = run(tmp_path / "root" / "base" / GRAPH)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("form", APART)
def test_layers_below_the_adapted_ones_run_once_a_text(drawn: Path, form: str, tmp_path: Path):
    bundle = bundle_of(formed(drawn, form, tmp_path), tmp_path / "b")
    base = make_base(bundle, tmp_path / "root", rank=RANK, where="*.layer.1.*")
    assert (base.shared, len(base.linears)) == (True, 6)
    graph, rows = tmp_path / "root" / "base" / GRAPH, np.array([0, 1, 2, 3, 4, 0, 3, 3])
    given = tables(base, len(rows), np.random.default_rng(1))
    mixed, _ = run(graph, **given, adapter_rows=rows)
    for at, row in enumerate(rows):
        own = {name: table[at : at + 1] for name, table in given.items()}
        alone, _ = run(graph, **own, adapter_rows=np.arange(5))
        np.testing.assert_allclose(mixed[at], alone[row], atol=1e-5)
    assert np.abs(mixed[0] - mixed[5]).max() > 1e-2, "one text, two users, one answer"
    (wanted,) = run(bundle.path("model.onnx"))
    plain, _ = run(graph, **tables(base, 1), adapter_rows=rows)
    np.testing.assert_allclose(plain, wanted[rows], atol=1e-6)
    model, upper = onnx.load(graph), {"adapter_rows"}
    for node in model.graph.node:
        if upper.intersection(node.input):
            upper.update(node.output)
    named = {
        layer: [n for n in model.graph.node if any(f"layer.{layer}." in i for i in n.input)]
        for layer in (0, 1)
    }
    assert all(not upper.intersection(node.output) for node in named[0])
    assert any(upper.intersection(node.output) for node in named[1])


def test_layers_are_chosen_by_a_glob(drawn: Path, graphs: dict[str, Path], tmp_path: Path):
    bundle = bundle_of(drawn, tmp_path)
    base = make_base(bundle, tmp_path / "root", rank=RANK, where="*.layer.1.*.query")
    assert list(base.linears) == ["encoder.encoder.layer.1.attention.self.query"]
    # A base that can do as much is kept; more asked of it makes it anew.
    assert make_base(bundle, tmp_path / "root") == base
    assert make_base(bundle, tmp_path / "root", rank=RANK, where=base.where) == base
    assert len(make_base(bundle, tmp_path / "root", rank=RANK).linears) == 12


def test_a_root_holds_the_adapters_of_one_bundle(
    drawn: Path, graphs: dict[str, Path], tmp_path: Path
):
    bundle, other = bundle_of(drawn, tmp_path), bundle_of(graphs["other"], tmp_path / "other")
    base = make_base(bundle, tmp_path / "root")
    with pytest.raises(BundleError) as caught:
        make_base(other, tmp_path / "root")
    assert bundle.manifest.id[:12] in caught.value.what
    assert other.manifest.id[:12] in caught.value.what
    assert read_base(tmp_path / "root") == base
    # One that was half written is nobody's answer, and is made anew.
    (tmp_path / "root" / "base" / GRAPH).write_bytes(b"half")
    assert make_base(bundle, tmp_path / "root") == base
    verified_base(tmp_path / "root", base.bundle, base.source)


def test_an_ensemble_and_a_cascade_have_no_head_of_ones_own(
    graphs: dict[str, Path], tmp_path: Path
):
    merge_graphs([(graphs["top"], 0.5), (graphs["other"], 0.5)], tmp_path / "sum.onnx")
    cascade_graphs((graphs["first"], 1.0), (graphs["top"], 1.0), 0.9, tmp_path / "climb.onnx")
    for name in ("sum", "climb"):
        bundle = bundle_of(tmp_path / f"{name}.onnx", tmp_path / name)
        with pytest.raises(NothingToTune, match="no linear head"):
            make_base(bundle, tmp_path / name / "root")
        assert not (tmp_path / name / "root").exists()


def test_a_rank_that_is_none_and_layers_that_are_none_are_refused(drawn: Path, tmp_path: Path):
    bundle = bundle_of(drawn, tmp_path)
    with pytest.raises(SettingError, match="rank"):
        make_base(bundle, tmp_path / "root", rank=-1)
    with pytest.raises(NothingToTune, match="no linear layer called 'nothing'"):
        make_base(bundle, tmp_path / "root", rank=1, where="nothing")
    with pytest.raises(BundleError, match="model"):
        make_base(Bundle(bundle.folder, bundle.manifest.model_copy(update={"files": {}})), tmp_path)


@pytest.mark.parametrize("form", ["int8 rows", "optimised int8 rows", "static int8"])
def test_tables_beside_rounded_products_move_answers_as_beside_float_ones(
    drawn: Path, form: str, tmp_path: Path
):
    moved: list[np.ndarray] = []
    for name in ("float", form):
        graph = formed(drawn, name, tmp_path / name)
        base = make_base(bundle_of(graph, tmp_path / name), tmp_path / name / "root", rank=RANK)
        given = tables(base, 5, np.random.default_rng(1))
        place = tmp_path / name / "root" / "base" / GRAPH
        none = {key: np.zeros_like(table) for key, table in given.items()}
        moved.append(run(place, **given)[0] - run(place, **none)[0])
    assert np.abs(moved[0]).max() > 0.01
    np.testing.assert_allclose(moved[1], moved[0], atol=0.2 * np.abs(moved[0]).max())
