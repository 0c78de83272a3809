"""A language model on this machine is asked: from the need to a bundle that asks nobody."""

import json
from pathlib import Path

from tests.stories.shop import NEED, Here, open_shop, refused
from tests.tiny import make_tiny_llama

HERE = NEED.replace("{backbones: [./tiny]}", "{backbones: [./tiny], llm: ./llama}")


def test_a_need_by_a_language_model_here_ends_in_a_graph_that_asks_nobody(
    tmp_path: Path, here: Here
):
    shop = open_shop(tmp_path / "shop", HERE)
    make_tiny_llama(shop / "llama")
    planned = json.loads(here("plan", "need.yaml", "--json").out)["plan"]
    rungs = {each["rung"]: each for each in planned}
    assert list(rungs).index("prompted") == list(rungs).index("head") + 1
    assert rungs["prompted"]["requests"] == 0

    said = here("run", "need.yaml", "--method", "prompted", "--json")

    assert said.status in (0, 1), said.err
    assert "8 labelled examples" in said.err
    (bundle,) = (shop / ".sartor" / "bundles").iterdir()
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["lineage"]["method"] == "prompted"
    assert "asks" not in manifest["lineage"]
    assert (bundle / "model.onnx").exists()
    assert not (bundle / "prompt.json").exists()
    (shop / "new.txt").write_text("a really good order\nan utterly broken thing\n")
    answered = here("predict", bundle, "new.txt")
    assert answered.status == 0, answered.err
    assert len(answered.out.splitlines()) == 2


def test_a_name_that_nobody_knows_is_refused_with_both_ways_to_write_it(new_shop: Path, here: Here):
    (new_shop / "need.yaml").write_text(HERE.replace("./llama", "qwen3"))
    refused(here("plan", "need.yaml"), "'qwen3'", "smollm2", "url:")


def test_an_encoder_is_no_language_model(new_shop: Path, here: Here):
    (new_shop / "need.yaml").write_text(HERE.replace("./llama", "./tiny"))
    said = here("plan", "need.yaml")
    assert said.status == 0, said.err
    assert "no chat template" in said.err


def test_a_text_in_another_language_than_the_models_is_warned_of(tmp_path: Path, here: Here):
    shop = open_shop(tmp_path / "shop", HERE)
    folder = make_tiny_llama(shop / "llama")
    (folder / "README.md").write_text("---\nlanguage: [en]\n---\n")
    said = [
        f"这个订单{('太差', '很好')[i % 2]}，第{i}次了,{('bad', 'good')[i % 2]}" for i in range(120)
    ]
    lines = ["text,label", *said]
    (shop / "reviews.csv").write_text("\n".join(lines) + "\n")
    planned = here("plan", "need.yaml")
    assert planned.status == 0, planned.err
    assert "reads en" in planned.err
