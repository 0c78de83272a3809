"""`--method top_layers`: each text goes through the frozen layers once, for runs to come too."""

import json
from pathlib import Path

from tests.stories.shop import Here


def test_the_top_layers_are_trained_on_states_that_a_second_run_finds(new_shop: Path, here: Here):
    said = here("run", "need.yaml", "--method", "top_layers", "--json")
    assert said.status in (0, 1), said.err
    report = json.loads(here("report", "--json").out)
    joined = {"ensemble", "stack"}
    assert {c["rung"] for c in report["candidates"]} - joined == {"top_layers"}
    segments = list((new_shop / ".sartor" / "states" / "spaces").glob("*/*"))
    assert segments

    need = new_shop / "need.yaml"
    need.write_text(need.read_text() + "seed: 5\n")
    again = here("run", "need.yaml", "--method", "top_layers", "--json")

    assert again.status in (0, 1), again.err
    assert list((new_shop / ".sartor" / "states" / "spaces").glob("*/*")) == segments
