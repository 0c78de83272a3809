"""The page says what the result says, degrades, and never runs or fetches anything."""

import re
from html.parser import HTMLParser

import pytest

from sartor.core.errors import WorkspaceError
from sartor.core.phrases import Phrase
from sartor.report.page import render
from tests.report.samples import VERDICTS, full_result

ATTACK = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&{{7*7}}"
KEYED_BY_USERS = ("dropped", "changed", "labels", "languages", "machine", "scores")
VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = (
    "verdicts", "next", "labels", "ladder", "tradeoffs", "curves", "confusion", "errors", "data",
    "lineage",
)  # fmt: skip


class Reader(HTMLParser):
    """Collects elements, and refuses a page whose tags do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def with_every_text(value: object, text: str) -> object:
    """The same result with each free text replaced; names that carry meaning stay."""
    if isinstance(value, dict):
        return {
            key: part
            if key in ("state", "criterion")
            else {name + text: number for name, number in part.items()}
            if key in KEYED_BY_USERS and isinstance(part, dict)
            else with_every_text(part, text)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [with_every_text(part, text) for part in value]
    return value + text if isinstance(value, str) else value


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_full_result_becomes_one_well_formed_page_with_every_section(language):
    page = Reader(render(full_result(), language=language))

    found = [attrs.get("id") for tag, attrs in page.elements if tag == "section"]
    assert tuple(found) == SECTIONS
    assert "tickets" in page.text
    assert "登录问题" in page.text
    assert "0.842" in page.text
    assert "0.811 – 0.870" in page.text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_names_labels_and_criteria_never_become_elements_or_attributes(language):
    clean = Reader(render(full_result(), language=language))
    hostile = with_every_text(full_result(), ATTACK)
    assert isinstance(hostile, dict)
    for verdict in hostile["verdicts"]:
        verdict["criterion"] += ATTACK

    page = Reader(render(hostile, language=language))

    assert page.text.count("<script>alert(1)</script>") > 40, "the attack did not reach the page"
    names = [tag for tag, _ in page.elements]
    assert "script" not in names
    assert "img" not in names
    # Criteria that no longer parse lose their thresholds; nothing else may differ in kind.
    assert set(names) <= {tag for tag, _ in clean.elements}
    assert not any(a.startswith("on") for _, attrs in page.elements for a in attrs)
    assert "{{7*7}}" in page.text


def test_the_page_fetches_nothing_and_forbids_itself_to():
    source = render(full_result())
    page = Reader(source)
    policy = next(a for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")

    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert "url(" not in source
    assert "@import" not in source
    links = [attrs["href"] for tag, attrs in page.elements if tag == "a"]
    assert all(link and link.startswith("#") for link in links)
    assert {link[1:] for link in links if link} == set(SECTIONS)


@pytest.mark.parametrize("part", [key for key in full_result() if key != "verdicts"])
@pytest.mark.parametrize("gone", ["absent", "null"])
def test_any_part_but_the_verdicts_may_be_missing(part, gone):
    result = full_result()
    if gone == "absent":
        del result[part]
    else:
        result[part] = None

    page = Reader(render(result))

    assert "0.842" in page.text
    if part in ("confusion", "gap", "data", "errors"):
        assert "Not measured in this run." in page.text or "None were recorded" in page.text


def test_a_run_that_ended_before_judging_says_so():
    page = Reader(render({"verdicts": []}))

    assert "The run ended before any criterion was judged." in page.text
    assert page.text.count("Not measured in this run.") >= 6


def test_fields_inside_a_part_may_be_missing_too():
    result = full_result()
    for part in ("candidates", "artefacts", "plan", "errors", "next_steps"):
        result[part] = [{}] * 2
    result["data"] = {"read": 10}
    result["gap"] = {"test": 0.5}

    page = Reader(render(result))

    assert "0.842" in page.text
    assert "None" not in page.text.replace("None were", "")


def test_a_result_without_verdicts_is_refused_with_its_fix():
    with pytest.raises(WorkspaceError, match=r"verdicts: field required") as caught:
        render({"name": "tickets"})
    assert "run the need again" in caught.value.fix


def test_a_part_of_another_form_is_refused_by_its_place():
    result = full_result()
    result["candidates"][1]["seconds"] = "soon"
    with pytest.raises(WorkspaceError, match=r"candidates\.1\.seconds.*'soon'"):
        render(result)


def test_keys_of_a_newer_version_are_passed_over():
    result = full_result()
    result["pareto"] = [1, 2]
    result["candidates"][0]["energy_j"] = 3
    assert render(result) == render(full_result())


def test_numbers_that_are_not_finite_read_not_measured():
    result = full_result()
    result["verdicts"] = [{**VERDICTS[0], "value": float("nan"), "low": None, "high": None}]
    result["candidates"][0]["latency_ms"] = float("inf")

    page = Reader(render(result))

    assert "nan" not in page.text.split()
    assert "not measured" in page.text


def test_lone_surrogates_control_characters_and_direction_overrides_are_made_visible():
    result = full_result()
    result["errors"][0]["text"] = "a\ud800b\x00c\x1b[31md\u202ee"

    source = render(result)

    source.encode("utf-8")
    assert "a\ufffdb\ufffdc\ufffd[31md\ufffde" in source


def test_every_drawing_has_a_title_or_is_hidden_from_readers_aloud():
    source = render(full_result())
    drawings = re.findall(r"<svg.*?</svg>", source, re.DOTALL)

    assert len(drawings) > 8
    assert all('aria-hidden="true"' in d or "<title>" in d for d in drawings)


def test_every_table_names_its_columns_or_rows():
    for table in re.findall(r"<table.*?</table>", render(full_result()), re.DOTALL):
        assert 'scope="row"' in table


def test_long_lists_are_cut_with_a_word_about_the_rest():
    result = full_result()
    size = 42
    result["confusion"] = {
        "labels": [f"intent {i}" for i in range(size)],
        "counts": [[9 if i == j else (i * j) % 3 for j in range(size)] for i in range(size)],
    }
    result["data"]["labels"] = {f"intent {i}": i + 1 for i in range(size)}
    result["errors"] = result["errors"] * 20
    result["candidates"] = [result["candidates"][2]] * 9

    text = Reader(render(result)).text

    assert "Shown are the 10 labels with the most mistakes; the other 32 are added up" in text
    assert "22 more are not shown." in text
    assert "35 more are in the run's result.json." in text
    assert "3 more candidates have curves" in text


def test_predicted_time_stands_beside_the_sum_of_what_a_rung_took():
    row = re.search(
        r'<tr>\s*<th scope="row"><bdi>frozen head, e5-small.*?</tr>', render(full_result()), re.S
    )

    assert row is not None
    assert "15 – 40 s" in row[0]
    assert "25 s" in row[0]


def test_a_rung_that_was_not_climbed_says_so():
    result = full_result()
    result["candidates"] = result["candidates"][:1]
    assert render(result).count('<td class="n">not climbed</td>') == 2


def test_rungs_with_one_backbone_are_told_apart_and_timed_apart():
    result = full_result()
    for rung in result["plan"]:
        rung["label"] = "minilm"
    source = render(result)

    for name in ("head", "lora", "full"):
        assert f"{name}, minilm" in source
    lora = re.search(r"<tr>\s*<th scope=\"row\"><bdi>lora, minilm.*?</tr>", source, re.S)
    assert lora is not None
    assert "6 min 42 s" in lora[0]


def test_scores_may_be_keyed_by_criterion_and_losses_by_their_longer_names():
    result = full_result()
    for candidate in result["candidates"]:
        candidate["scores"] = {"accuracy >= 0.80": 0.8123}
        candidate["history"] = [
            {"step": step, "train_loss": 1.75 / step, "validation_log_loss": 2.25 / step}
            for step in (1, 2)
        ]
    text = Reader(render(result)).text

    assert "accuracy against size" in text
    assert "training 0.875" in text
    assert "validation 1.12" in text


def test_an_artefact_without_scores_is_shown_as_a_bound_not_as_a_measurement():
    result = full_result()
    assert "≥ 0.848" in Reader(render(result)).text

    result["artefacts"][1]["scores"] = {"accuracy": 0.849}
    text = Reader(render(result)).text
    assert "≥ 0.848" not in text
    assert "0.849" in text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_ink_is_readable_on_its_paper(theme):
    """WCAG 2.2 AA asks 4.5 : 1 for text."""
    blocks = re.findall(r":root \{(.*?)\}", render({"verdicts": []}), re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", blocks[0 if theme == "light" else 1]))

    for ink in ("ink", "soft", "good", "bad", "doubt", "blue"):
        assert contrast(colours[ink], colours["paper"]) >= 4.5, ink
    assert contrast(colours["ink"], colours["tint"]) >= 4.5


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_next_steps_are_said_in_the_language_of_the_page_and_escaped():
    said = Phrase("Climb to the next rung, {rung}.", {"rung": "<b>lora"})
    step = {"what": said.say(), "command": "sartor run", "cost": "", "said": said.as_json()}
    result = full_result() | {"next_steps": [step]}
    assert "Climb to the next rung, &lt;b&gt;lora." in render(result)
    chinese = render(result, language="zh")
    assert "尝试下一个方案 &lt;b&gt;lora。" in chinese
    assert "Climb to" not in chinese


def test_what_more_labels_would_buy_is_drawn_and_said():
    result = full_result()
    rows = Phrase("training rows")
    said = Phrase("{criterion}: {n} further {rows}", {"criterion": "a", "n": "210", "rows": rows})
    result["labels"][0]["said"] = said.as_json()
    assert "a: 210 further training rows" in render(result)
    assert "a：再增加 210 条训练样本" in render(result, language="zh")
    del result["labels"][0]["said"]
    assert "210 to 1,400 further rows" in render(result)
    del result["labels"]
    assert "Nothing was foreseen" in render(result)


def test_what_was_left_out_when_planning_is_listed_with_its_reason():
    page = render(full_result())
    assert "size_mb &lt;= 20 is out of reach: &lt;large&gt;" in page


def test_forms_that_failed_are_listed_with_what_they_failed_with():
    page = Reader(render(full_result()))
    assert "Forms that failed" in page.text
    assert "The compressed graph is not valid ONNX: <node>." in page.text


def test_the_settings_that_mattered_most_come_first():
    page = Reader(render(full_result())).text
    assert page.index("lr 81 %") < page.index("rank 12 %") < page.index("epochs 7 %")
    assert "Too few trials to tell." in page
    result = full_result()
    del result["search"]
    assert "Which settings mattered" not in render(result)


def test_of_many_trials_the_likeliest_are_listed_under_their_numbers_and_the_rest_counted():
    result = full_result()
    many = [
        {"rung": "lora", "label": f"trial {n}", "scores": {}, "chance": n / 100, "trial": n,
         "state": "tried"}
        for n in range(50)
    ]  # fmt: skip
    result["candidates"] += many
    page = Reader(render(result)).text
    before = len(full_result()["candidates"])
    assert f"{before + 50} trial 49" in page
    assert f"{before + 31} trial 30" in page
    assert "trial 29" not in page
    assert "30 further trials are in the run's result.json" in page
    assert "frozen head, last layer" in page, "the portfolio is always listed"


def test_what_no_other_beats_is_marked():
    page = render(full_result())
    assert page.count("unbeaten</span>") == 2, "the most exact and the smallest"
    assert 'class="front"' in page
