"""A need that asks what serving costs, from the command line to the report."""

import json

import pytest

from tests.stories.shop import command, open_shop

NEED = """name: reviews
task: text_classification
data: {train: reviews.csv, text: text, label: label}
accept:
  - accuracy >= 0.80
  - monthly_cost[requests=1000000] <= 100000000
  - cost_per_1000 <= 0.01
  - cost_per_1000[target=lambda] <= 0.00021
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
    assert states["monthly_cost[requests=1000000] <= 100000000"] == ("met", 33)
    assert states["cost_per_1000 <= 0.01"][0] == "met"
    # A request alone is 0.0002 there: HTTP and model do not fit into the rest.
    assert states["cost_per_1000[target=lambda] <= 0.00021"][0] == "unmet"
    run = shop / ".sartor" / "runs" / "1"
    result = json.loads((run / "result.json").read_text())
    (step,) = (s for s in result["next_steps"] if s["command"].startswith("sartor cost "))
    assert "On own_machine it would cost " in step["what"]
    facts = json.loads((run / "facts.json").read_text())
    measured = [value for name, value in facts.items() if name.startswith("use ")]
    assert all(len(kept["cpu_seconds"]) == 6 for kept in measured)
    least = [pytest.approx(1000 * min(kept["cpu_seconds"])) for kept in measured]
    assert result["serving_costs"]["cpu_ms"][1] in least
    page = (run / "report.html").read_text()
    assert 'id="costs"' in page
    assert "USD 33.00" in page
    assert "USD 467.00" in page, "the margin: 500 for a million requests, less the machine"

    # Dearer prices, the same bundle on the same rows: the stored verdicts but for the costs.
    (shop / "prices.yaml").write_text("vm: {rent_per_month: 33000000}\n")
    again = command("run", "need.yaml", "--method", "head", "--json", cwd=shop, SARTOR_HOME=home)
    later = {v["criterion"]: v for v in json.loads(again.out)["verdicts"]}
    assert later["cost_per_1000 <= 0.01"]["state"] == "unmet"
    assert later["monthly_cost[requests=1000000] <= 100000000"]["value"] == 33_000_000
    first = {v["criterion"]: v for v in found["verdicts"]}
    assert later["accuracy >= 0.80"] == first["accuracy >= 0.80"]
