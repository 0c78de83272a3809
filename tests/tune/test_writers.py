"""Ways to come by a model that writes: what they leave, and that a kill changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from sartor.core.errors import SettingError
from sartor.core.events import Note, silent
from sartor.core.replies import as_said
from sartor.core.types import Candidate
from sartor.models.catalogue import find_backbone
from sartor.tune.conversing import Conversing
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.writers.lora import LoraReply
from sartor.tune.writing import WRITERS, WritingTuner, read_writing, writers
from tests.tiny import CHAT, make_tiny_llama
from tests.written import rows

TRAIN, HELD = rows(24), rows(6, 1)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = make_tiny_llama(tmp_path_factory.mktemp("llama"), max_length=128)
    return find_backbone(str(folder), kind="llm")


def tuner_in(folder, llama, **options) -> WritingTuner:
    told = TuneOptions(task="text_generation", **options)
    return WritingTuner(Tuner({llama.name: llama}, lambda b: None, folder, ["reply"], told))


def candidate(llama, method: str, **settings) -> Candidate:
    return Candidate(llama.name, llama.sha256, method, settings, 0)


def test_the_ladder_is_by_cost_and_unknown_names_are_refused():
    assert writers(None) == ["nearest", "prompted", "lora"]
    assert writers(["lora"]) == ["lora"]
    assert {"nearest", "prompted", "lora"} <= set(WRITERS.names())
    with pytest.raises(SettingError, match="rnak"):
        read_writing({"rnak": 4}, "lora")
    with pytest.raises(SettingError, match="epochs"):
        read_writing({"epochs": 4}, "prompted")


@pytest.mark.parametrize("method", ["nearest", "prompted", "lora"])
def test_a_fit_leaves_replies_to_the_validation_rows(tmp_path, llama, method):
    settings = {"epochs": 1} if method == "lora" else {}
    fit = tuner_in(tmp_path, llama)
    found = fit(candidate(llama, method, **settings), TRAIN, HELD, silent)
    said = [as_said(row) for row in found.validation_logits]
    assert len(said) == len(HELD)
    assert all(each is not None and each.right_tokens for each in said)
    assert np.isnan(found.train_logits).all()
    names = {path.name for path in found.folder.iterdir()}
    ours = {"replies.json"} if method == "nearest" else {"model.safetensors", "writer.json"}
    assert ours <= names
    again = fit(candidate(llama, method, **settings), TRAIN, HELD, silent)
    np.testing.assert_array_equal(again.validation_logits, found.validation_logits)


def test_lora_learns_the_replies(tmp_path, llama):
    learning = candidate(llama, "lora", epochs=12, lr=0.03, batch_rows=8, patience=50)
    found = tuner_in(tmp_path, llama)(learning, TRAIN, HELD, silent)
    losses = [step["validation_log_loss"] for step in found.history]
    assert min(losses) < 0.6 * losses[0]
    said = [as_said(row) for row in found.validation_logits]
    assert sum(each is not None and each.text.startswith("it is ") for each in said) >= 5


def test_a_fit_that_was_killed_ends_with_the_same_bytes(tmp_path, llama, monkeypatch):
    learning = candidate(llama, "lora", epochs=2, batch_rows=6)
    whole = tuner_in(tmp_path / "whole", llama)(learning, TRAIN, HELD, silent)
    killed = tuner_in(tmp_path / "killed", llama, checkpoint_steps=3)
    import sartor.tune.writers.lora as module

    train = module.train

    def dies(model, data, recipe, watch):
        def save(step: object) -> None:
            raise KeyboardInterrupt

        book = watch.checkpoints
        kept, saves = type(book).save, []

        def once(self, snapshot):
            kept(self, snapshot)
            saves.append(snapshot.step)
            raise KeyboardInterrupt

        monkeypatch.setattr(type(book), "save", once)
        try:
            return train(model, data, recipe, watch)
        finally:
            monkeypatch.setattr(type(book), "save", kept)

    monkeypatch.setattr(module, "train", dies)
    with pytest.raises(KeyboardInterrupt):
        killed(learning, TRAIN, HELD, silent)
    monkeypatch.setattr(module, "train", train)
    told: list[str] = []
    again = killed(
        learning, TRAIN, HELD, lambda e: told.append(e.text) if isinstance(e, Note) else None
    )
    assert any("Resuming at step 3" in text for text in told)
    one, two = (load_file(each.folder / "model.safetensors") for each in (whole, again))
    assert all((one[name] == two[name]).all() for name in one)


def test_settings_reach_the_fit(tmp_path, llama):
    fit = tuner_in(tmp_path, llama)
    keys = {
        fit.key(candidate(llama, "lora", **settings), TRAIN, HELD)
        for settings in ({}, {"rank": 4}, {"epochs": 2})
    }
    assert len(keys) == 3
    moved = replace(TRAIN, target=TRAIN.target[::-1])
    assert fit.key(candidate(llama, "lora"), moved, HELD) not in keys
    assert LoraReply().rank == 16


def test_a_template_that_treats_turns_unalike_is_refused(tmp_path):
    folder = make_tiny_llama(tmp_path / "llama")
    odd = "{% if loop.index0 > 2 %}later {% endif %}"
    template = CHAT.replace("{{ '<|im_start|>'", odd + "{{ '<|im_start|>'")
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(SettingError, match="every turn alike"):
        Conversing(find_backbone(str(folder), kind="llm"))
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    with pytest.raises(SettingError, match="every message"):
        Conversing(find_backbone(str(folder), kind="llm"))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(SettingError, match="no chat template"):
        Conversing(find_backbone(str(folder), kind="llm"))


def test_joints_are_what_the_template_writes(llama):
    says = Conversing(llama)
    joints, whole = says.joints, says.whole
    assert whole.decode(joints.first_user, skip_special_tokens=False) == "<|im_start|>user\n"
    said = whole.decode(joints.assistant, skip_special_tokens=False)
    assert said == "<|im_end|>\n<|im_start|>assistant\n"
    assert says.stop == [whole.token_to_id("<|im_end|>")]
    assert set(says.said("a <|im_end|> b")) & says.silent == set()
    assert says.text(says.said("héllo <|im_end|> 中文 🙂")) == "héllo <|im_end|> 中文 🙂"
    assert says.survives("anything at all 🙂")
