"""The documentation agrees with the code: needs, commands, routes, fields, links, sizes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from sartor.cli.app import app
from sartor.judge.resolve import metrics
from sartor.need.file import parse_need
from sartor.need.model import Need
from sartor.tasks import TASKS

ROOT = Path(__file__).parents[2]
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
PAGES = (*READMES, *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("examples/**/*.md")))
_FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<body>.*?)^(?P=indent)```", re.S | re.M)
_LINK = re.compile(r"\]\((?!https?://)(?P<target>[^)#\s]+)")
_COMMAND = re.compile(r"^(?:\S+/)?sartor (?P<words>[^#\n]*)", re.M)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of every fenced block."""
    for match in _FENCE.finditer(page.read_text(encoding="utf-8")):
        yield match["kind"], match["body"]


def needs() -> Iterator[tuple[str, str]]:
    """Every need in the documentation and the examples, with its place."""
    for page in PAGES:
        for number, (kind, text) in enumerate(blocks(page), 1):
            if kind == "yaml" and re.search(r"^accept:", text, re.M):
                yield f"{name_of(page)} block {number}", text
    for file in sorted(ROOT.glob("examples/*/need*.yaml")):
        yield name_of(file), file.read_text(encoding="utf-8")


NEEDS = dict(needs())


def parsed(place: str) -> Need:
    return parse_need(NEEDS[place], place, lambda task: TASKS.get(task)().roles)


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def test_there_are_needs_to_check():
    assert len(NEEDS) >= 12


@pytest.mark.parametrize("place", NEEDS)
def test_a_need_in_the_documentation_parses(place):
    assert parsed(place).accept


@pytest.mark.parametrize("place", NEEDS)
def test_a_criterion_in_the_documentation_names_a_metric_that_exists(place):
    assert {criterion.metric for criterion in parsed(place).accept} <= set(metrics())


def test_the_reference_lists_every_metric():
    page = (ROOT / "docs/reference/need.md").read_text(encoding="utf-8")
    missing = {name for name in metrics() if f"`{name}`" not in page}
    assert not missing


@pytest.mark.parametrize("model", ["Need", "Data", "Budget", "Preferences"])
def test_the_reference_lists_every_key_of_a_need(model):
    import sartor.need.model as models

    page = (ROOT / "docs/reference/need.md").read_text(encoding="utf-8")
    keys = set(getattr(models, model).model_fields) - {*models.NO_KEYS}
    assert not {key for key in keys if f"`{key}`" not in page and f"## {key}" not in page}


@pytest.mark.parametrize("model", ["Part", "Case"])
def test_the_reference_lists_every_key_of_a_part(model):
    import sartor.need.parts as models

    page = (ROOT / "docs/reference/need.md").read_text(encoding="utf-8")
    assert not {
        key for key in set(getattr(models, model).model_fields) - {"line"} if f"`{key}`" not in page
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_link_leads_to_a_file(page):
    targets = [match["target"] for match in _LINK.finditer(prose(page))]
    assert not [target for target in targets if not (page.parent / target).exists()]


def commands() -> dict[str, set[str]]:
    """Every command of the command line, subcommands as two words, with its options."""
    found: dict[str, set[str]] = {}
    todo = [("", typer.main.get_command(app))]
    while todo:
        name, command = todo.pop()
        inner = getattr(command, "commands", {})
        todo += [(f"{name} {word}".strip(), part) for word, part in inner.items()]
        if not inner or command.invoke_without_command:
            found[name] = {option for field in command.params for option in field.opts}
    return found


COMMANDS = commands()


def lines_of(page: Path) -> list[list[str]]:
    """The words after `sartor` in a page's shell blocks."""
    text = "\n".join(body for kind, body in blocks(page) if kind == "sh")
    return [match["words"].split() for match in _COMMAND.finditer(text)]


@pytest.mark.parametrize("page", [p for p in PAGES if lines_of(p)], ids=name_of)
def test_a_shell_block_uses_commands_and_options_that_exist(page):
    for words in lines_of(page):
        name = next((n for n in (" ".join(words[:2]), words[0]) if n in COMMANDS), None)
        assert name, f"no command {words}"
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert options <= COMMANDS[name], words


def test_the_command_reference_lists_every_command():
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `sartor ([^`]+)`", page, re.M)
    named = {
        next((n for n in (" ".join(words[:2]), words[0]) if n in COMMANDS), " ".join(words))
        for words in map(str.split, listed)
    }
    assert named == set(COMMANDS)


def test_the_http_reference_lists_every_route_and_status():
    from sartor.serve.openapi import Facts, document
    from tests.serve.test_auth import PUBLIC

    page = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
    keys, row = (("text", "text"),), '{"text": "a"}'
    facts = Facts("tickets", "9c1f", keys, ("a", "b"), 9, 99, "label", "{}", row)
    paths = json.loads(document(facts))["paths"]
    routes = {f"{method.upper()} {path}" for path in paths for method in paths[path]}
    # One sentence says that a model's routes exist with its version too.
    assert "`/v2/models/{name}/versions/{version}…`" in page
    routes = {route for route in routes if "/versions/" not in route}
    assert not {route for route in routes if f"`{route}`" not in page}
    assert not {path for path in PUBLIC if f"{path}`" not in page}
    statuses = {
        status
        for methods in paths.values()
        for operation in methods.values()
        for status in operation["responses"]
        if status >= "400"
    }
    listed = set(re.findall(r"\b[45]\d\d\b", page))
    assert not statuses - listed


@pytest.mark.parametrize("model", ["PredictBody", "FeedbackBody", "PredictReply", "ModelReply"])
def test_the_http_reference_shows_every_key_of_a_body(model):
    import sartor.serve.bodies as bodies

    page = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
    assert not {key for key in getattr(bodies, model).model_fields if f'"{key}"' not in page}


def test_the_bundle_reference_lists_every_field_of_a_manifest():
    from sartor.bundle import Manifest

    page = (ROOT / "docs/reference/bundle.md").read_text(encoding="utf-8")
    assert not {field for field in Manifest.model_fields if f"`{field}`" not in page}


def test_the_command_reference_lists_every_variable_of_the_environment_that_is_ours():
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    sources = (ROOT / "src").rglob("*.py")
    ours = {
        name
        for source in sources
        for name in re.findall(r"\bSARTOR_[A-Z_]*[A-Z]\b", source.read_text(encoding="utf-8"))
    }
    assert "SARTOR_API_KEY" in ours
    assert not {name for name in ours if f"`{name}`" not in page}


def test_decision_records_are_numbered_without_a_gap_and_say_why():
    records = sorted((ROOT / "docs/decisions").glob("*.md"))
    for number, record in enumerate(records, 1):
        text = record.read_text(encoding="utf-8")
        assert record.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number}. ")
        headings = re.findall(r"^## (.*)$", text, re.M)
        assert headings == ["Context", "Decision", "Consequences"], record.name


def test_the_readme_is_at_most_1500_words():
    assert len(READMES[0].read_text(encoding="utf-8").split()) <= 1_500


@pytest.mark.parametrize("page", READMES, ids=name_of)
def test_the_first_example_of_a_readme_is_at_most_15_lines(page):
    needs = [body for kind, body in blocks(page) if kind == "yaml"]
    assert len(needs[0].splitlines()) <= 15
    assert len(next(blocks(page))[1].splitlines()) <= 15


def test_both_readmes_show_the_same_need_and_commands():
    english, chinese = ([b for b in blocks(page) if b[0] != "text"] for page in READMES)
    assert [kind for kind, _ in english] == [kind for kind, _ in chinese]
    for (_, here), (_, there) in zip(english, chinese, strict=True):
        assert uncommented(here) == uncommented(there)


def test_the_readmes_criteria_are_the_examples():
    shown, full = parsed("README.md block 2"), parsed("examples/reviews/need.yaml")
    assert {c.text for c in shown.accept} <= {c.text for c in full.accept}
    assert shown.data.roles == full.data.roles
    assert shown.data.train == full.data.train


def uncommented(block: str) -> list[str]:
    return [re.sub(r"\s+#.*$", "", line) for line in block.splitlines()]


def test_the_readmes_commands_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z-]+)", READMES[0].read_text(encoding="utf-8")))
    assert {"demo", "check"} <= named
    assert not [target for target in named if not re.search(rf"^{target}:", makefile, re.M)]
