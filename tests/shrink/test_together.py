"""Heads on one encoder, traced once: each fit's graph is the one it would get by itself."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.onnx import OnnxExporterError

from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.shrink import together
from sartor.shrink.merge import merge_graphs
from sartor.shrink.together import Together
from sartor.tasks._encoder.model import TextClassifier
from tests.shrink.runs import batch, logits
from tests.shrink.test_merge import BLOCK, matrices
from tests.tiny import make_tiny_bert

TASK = "text_classification"
NAMES = ("top", "first", "both", "other")


@pytest.fixture
def tracings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Outputs of each model that is traced together with others."""
    found: list[int] = []
    real = together.traced

    def watched(model: nn.Module, outputs: list[str]) -> onnx.ModelProto:
        found.append(len(outputs))
        return real(model, outputs)

    monkeypatch.setattr(together, "traced", watched)
    return found


def written(folders: list[Path], to: Path) -> dict[str, Path]:
    to.mkdir()
    exports = Together(folders, TASK)
    for folder in folders:
        exports.write(folder, to / f"{folder.name}.onnx")
    return {folder.name: to / f"{folder.name}.onnx" for folder in folders}


def test_heads_on_one_encoder_are_traced_once_and_answer_as_by_themselves(
    graphs: dict[str, Path], tmp_path: Path, tracings: list[int]
):
    folders = [graphs[name].with_suffix("") for name in NAMES]
    made = written(folders, tmp_path / "one")
    assert tracings == [3], "the fourth reads another encoder"
    for rows, length in ((1, 1), (7, 30)):
        ids, mask = batch(rows, length)
        for name in NAMES:
            wanted = logits(graphs[name], ids, mask)
            np.testing.assert_allclose(logits(made[name], ids, mask), wanted, atol=1e-5)
    assert matrices(made["first"]) == BLOCK, "what only others read is left out"
    again = written(folders, tmp_path / "two")
    assert all(made[name].read_bytes() == again[name].read_bytes() for name in NAMES)


def test_one_that_is_lacking_after_a_kill_is_written_as_it_was(
    graphs: dict[str, Path], tmp_path: Path
):
    folders = [graphs[name].with_suffix("") for name in NAMES]
    before = written(folders, tmp_path / "one")
    for folder in folders:
        Together(folders, TASK).write(folder, tmp_path / "again.onnx")
        assert (tmp_path / "again.onnx").read_bytes() == before[folder.name].read_bytes()


def test_graphs_that_were_traced_together_share_one_encoder_with_one_that_was_not(
    graphs: dict[str, Path], tmp_path: Path
):
    made = written([graphs[name].with_suffix("") for name in ("first", "both")], tmp_path / "one")
    parts = [(made["first"], 0.2), (made["both"], 0.3), (graphs["top"], 0.5)]
    merge_graphs(parts, tmp_path / "m.onnx")
    assert matrices(tmp_path / "m.onnx") == 2 * BLOCK
    ids, mask = batch(7, 30)
    wanted = sum(weight * logits(graph, ids, mask) for graph, weight in parts)
    np.testing.assert_allclose(logits(tmp_path / "m.onnx", ids, mask), wanted, atol=1e-5)


def test_one_fit_alone_is_exported_as_ever(
    graphs: dict[str, Path], tmp_path: Path, tracings: list[int]
):
    folder = graphs["top"].with_suffix("")
    made = written([folder, folder], tmp_path / "one")
    assert tracings == []
    assert made["top"].read_bytes() == graphs["top"].read_bytes()


def test_fits_that_read_in_different_ways_are_exported_apart(
    tmp_path: Path, tracings: list[int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SARTOR_HOME", str(tmp_path / "home"))
    folder = make_tiny_bert(tmp_path / "tiny", seed=0)
    for name, separator in (("plain", None), ("pair", 37)):
        encoder, _ = load_text_backbone(find_backbone(str(folder)))
        torch.manual_seed(0)
        model = TextClassifier(encoder, 3, (2,)).eval()
        model.separator = separator
        model.save(tmp_path / name)
    made = written([tmp_path / "plain", tmp_path / "pair"], tmp_path / "one")
    assert tracings == []
    ids, mask = batch(7, 30)
    assert not np.allclose(logits(made["plain"], ids, mask), logits(made["pair"], ids, mask))


def test_what_cannot_be_traced_together_is_exported_apart(
    graphs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refusing(model: nn.Module, outputs: list[str]) -> onnx.ModelProto:
        raise OnnxExporterError("an operator that is not known")

    monkeypatch.setattr(together, "traced", refusing)
    made = written([graphs[name].with_suffix("") for name in ("top", "both")], tmp_path / "one")
    for name, path in made.items():
        assert path.read_bytes() == graphs[name].read_bytes()


def test_a_head_whose_answers_would_change_is_left_out(graphs: dict[str, Path]):
    class Normed(TextClassifier):
        """Its last layer is read otherwise than those below it."""

        def means(self, input_ids: torch.Tensor, attention_mask: torch.Tensor):
            found = super().means(input_ids, attention_mask)
            depth = self.encoder.config.num_hidden_layers
            return [2 * found[0]] if self.layers == (depth,) else found

    first, deep = (together._model(graphs[name].with_suffix(""), TASK) for name in ("first", "top"))
    first.__class__ = deep.__class__ = Normed
    with torch.no_grad():
        heads = together.Heads(first)
        assert not heads.take(deep)
        (found,) = heads(heads.ids, heads.mask)
    torch.testing.assert_close(found, heads.wanted[0])
