"""Trees, columns alone and columns beside a text: the same numbers in torch, in ONNX and from
scikit-learn."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from sartor.core.errors import ModelError
from sartor.models.loading import load_model
from sartor.shrink.export import to_onnx
from sartor.tasks.tabular_text.model import ColumnsClassifier, FusedClassifier
from sartor.tasks.tabular_text.train import load
from sartor.tasks.tabular_text.trees import of_nodes
from tests.tiny import make_tiny_bert

FEATURES = 6


def rows(count: int = 300, seed: int = 0):
    """Columns of which some hold few values, so that rows lie on thresholds."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, FEATURES)).astype(np.float32)
    x[:, 3:] = np.round(x[:, 3:])
    return x


def grown(classes: int):
    x = rows()
    y = np.digitize(x[:, 0] + x[:, 3], np.linspace(-1, 1, classes - 1))
    grower = HistGradientBoostingClassifier(max_iter=12, max_leaf_nodes=7, early_stopping=False)
    return x, grower.fit(x, y)


def as_trees(grower, classes: int):
    raw = np.ravel(grower._baseline_prediction)
    share = np.array([[-0.5, 0.5]]) if classes == 2 else np.eye(classes)
    rounds = [[tree.nodes for tree in each] for each in grower._predictors]
    return of_nodes(rounds, share, raw @ share, FEATURES)


def run(graph: Path, **given):
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, given)[0]


@pytest.mark.parametrize("classes", [2, 3])
def test_trees_answer_as_scikit_learn_does_in_torch_and_in_onnx(classes, tmp_path):
    x, grower = grown(classes)
    model = as_trees(grower, classes)
    new = np.concatenate([x, rows(200, 1)])
    wanted = grower.predict_proba(new)
    with torch.no_grad():
        ours = model(torch.from_numpy(new))
    assert ours.softmax(1).numpy() == pytest.approx(wanted, abs=1e-6)
    model.save(tmp_path / "fit")
    again = load(tmp_path / "fit")
    with torch.no_grad():
        assert torch.equal(again(torch.from_numpy(new)), ours)
    to_onnx(tmp_path / "fit", "tabular_text", tmp_path / "trees.onnx")
    assert run(tmp_path / "trees.onnx", columns=new) == pytest.approx(ours.numpy(), abs=1e-5)


def test_a_row_on_a_threshold_goes_where_scikit_learn_sends_it():
    _, grower = grown(2)
    model = as_trees(grower, 2)
    inner = model.feature >= 0
    on = rows(int(inner.sum()), 2)
    for row, feature, at in zip(on, model.feature[inner], model.threshold[inner], strict=True):
        row[int(feature)] = float(at)
    with torch.no_grad():
        ours = model(torch.from_numpy(on)).softmax(1).numpy()
    assert ours == pytest.approx(grower.predict_proba(on), abs=1e-6)


def test_columns_alone_and_beside_a_text_are_exported_as_they_are(tmp_path):
    torch.manual_seed(0)
    alone = ColumnsClassifier(FEATURES, 3)
    fused = FusedClassifier(load_model(make_tiny_bert(tmp_path / "tiny")), 3, (2,), FEATURES)
    for model in (alone, fused):
        torch.nn.init.normal_(model.columns.weight)
        torch.nn.init.normal_(model.columns.bias)
    table = torch.from_numpy(rows(5))
    ids, mask = torch.randint(5, 40, (5, 9)), torch.ones(5, 9, dtype=torch.long)
    mask[2:, 6:] = 0
    words = {"input_ids": ids, "attention_mask": mask}
    for name, model, given in (("alone", alone, {}), ("fused", fused, words)):
        model.eval().save(tmp_path / name)
        with torch.no_grad():
            wanted = model(**given, columns=table)
            assert torch.equal(load(tmp_path / name)(**given, columns=table), wanted)
        to_onnx(tmp_path / name, "tabular_text", tmp_path / f"{name}.onnx")
        fed = {key: value.numpy() for key, value in (given | {"columns": table}).items()}
        assert run(tmp_path / f"{name}.onnx", **fed) == pytest.approx(wanted.numpy(), abs=1e-4)


@pytest.mark.parametrize(
    "change", [{"kind": "forest"}, {"nodes": 3}, {"features": None}, {"kind": "columns"}]
)
def test_a_damaged_model_is_refused_by_name(change, tmp_path):
    as_trees(grown(2)[1], 2).save(tmp_path)
    shape = json.loads((tmp_path / "classifier.json").read_text()) | change
    shape = {key: value for key, value in shape.items() if value is not None}
    (tmp_path / "classifier.json").write_text(json.dumps(shape))
    with pytest.raises(ModelError, match="does not hold"):
        load(tmp_path)
