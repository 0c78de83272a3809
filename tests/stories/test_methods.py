"""`sartor run need.yaml --method NAME`: one method forced, to a bundle that answers."""

import json
from pathlib import Path

import pytest

from tests.stories.shop import Here


# One that folds away, and one of each kind of layer that stays.
@pytest.mark.parametrize(
    "method",
    [
        "adalora",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("adapter", "prompt", "prefix")),
    ],
)
def test_a_run_by_one_method_ends_in_a_bundle_that_answers(new_shop: Path, here: Here, method: str):
    said = here("run", "need.yaml", "--method", method, "--json")
    assert said.status in (0, 1), said.err
    (bundle,) = (new_shop / ".sartor" / "bundles").iterdir()
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["lineage"]["method"] == method

    (new_shop / "new.txt").write_text("a very good order thanks\nan awful broken order\n")
    answered = here("predict", bundle, "new.txt")
    assert answered.status == 0, answered.err
    answers = [json.loads(line) for line in answered.out.splitlines()]
    assert len(answers) == 2
    assert {answer["label"] for answer in answers} <= {"good", "bad"}
    if method != "prefix":  # Frozen random layers leave a prefix little to steer.
        praise, blame = (answer["probabilities"]["good"] for answer in answers)
        assert praise > blame + 0.2, "what such a layer learns must reach the bundle's answers"
