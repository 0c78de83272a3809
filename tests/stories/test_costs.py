"""A need that asks what serving costs, from the command line to the report."""

import json

import pytest

from tests.stories.shop import command, open_shop

NEED = """name: reviews
task: text_classification
data: {train: reviews.csv, text: text, label: label}
accept:
  - accuracy >= 0.80
  - monthly_cost[requests=1000000] <= 50
  - monthly_cost[requests=1000, target=vm] <= 10
prefer: {backbones: [./tiny]}
costs: {target: vm, price_per_1000: 0.5, requests: [1000000], prices: prices.yaml}
"""


@pytest.mark.slow
def test_a_cost_is_judged_reported_and_priced_again(tmp_path):
    shop = open_shop(tmp_path / "shop", NEED)
    (shop / "prices.yaml").write_text("vm: {rent_per_month: 33, currency: USD}\n")
    home = str(tmp_path / "home")

    said = command("run", "need.yaml", "--method", "head", "--json", cwd=shop, SARTOR_HOME=home)

    assert said.status == 1, said.err
    found = json.loads(said.out)
    states = {v["criterion"]: (v["state"], v["value"]) for v in found["verdicts"]}
    assert states["monthly_cost[requests=1000000] <= 50"] == ("met", 33)
    assert states["monthly_cost[requests=1000, target=vm] <= 10"] == ("unmet", 33)
    run = shop / ".sartor" / "runs" / "1"
    result = json.loads((run / "result.json").read_text())
    (step,) = (s for s in result["next_steps"] if s["command"].startswith("sartor cost "))
    assert "On lambda it would cost " in step["what"]
    facts = json.loads((run / "facts.json").read_text())
    (kept,) = (value for name, value in facts.items() if name.startswith("use "))
    assert len(kept["cpu_seconds"]) == 6
    assert result["serving_costs"]["cpu_ms"][1] == 1000 * min(kept["cpu_seconds"])
    page = (run / "report.html").read_text()
    assert 'id="costs"' in page
    assert "USD 33.00" in page
    assert "USD 467.00" in page, "the margin: 500 for a million requests, less the machine"

    # Dearer prices, the same bundle on the same rows: the stored verdicts but for the costs.
    (shop / "prices.yaml").write_text("vm: {rent_per_month: 60, currency: USD}\n")
    again = command("run", "need.yaml", "--method", "head", "--json", cwd=shop, SARTOR_HOME=home)
    later = {v["criterion"]: v for v in json.loads(again.out)["verdicts"]}
    assert later["monthly_cost[requests=1000000] <= 50"]["state"] == "unmet"
    first = {v["criterion"]: v for v in found["verdicts"]}
    assert later["accuracy >= 0.80"] == first["accuracy >= 0.80"]
