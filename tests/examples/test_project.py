"""Constraints, Makefile and the CI script agree with pyproject.toml and the README."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)
TIERS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
REQUIREMENTS = [Requirement(text) for tier in TIERS.values() for text in tier]
EXTERNAL = [r for r in REQUIREMENTS if canonicalize_name(r.name) != "sartor"]


@pytest.mark.parametrize("requirement", EXTERNAL, ids=str)
def test_a_dependency_is_pinned_to_a_version_that_the_project_allows(requirement):
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_the_constraints_are_exact_sorted_and_free_of_build_suffixes():
    assert list(PINS) == sorted(PINS)
    assert not [pin for pin in PINS.values() if not re.fullmatch(r"[0-9][0-9A-Za-z.]*", pin)]


def test_an_extra_of_our_own_that_a_tier_names_exists():
    ours = [r for r in REQUIREMENTS if canonicalize_name(r.name) == "sartor"]
    assert ours
    assert not {extra for r in ours for extra in r.extras} - set(TIERS)


def test_every_install_in_the_documentation_uses_the_constraints():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "Makefile"]
    installs = [
        line
        for page in pages
        for line in page.read_text(encoding="utf-8").splitlines()
        if re.search(r"\bpip (install|download) .*\.(\s|'|\[|$)", line)
    ]
    assert len(installs) >= 6
    assert not [line for line in installs if "-c constraints.txt" not in line]


def test_the_ci_script_runs_the_readmes_test_command_in_an_environment_of_its_own():
    script = ROOT / ".ci" / "run"
    text = script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
    assert 'make check VENV="$work/venv"' in text
    assert "make check" in (ROOT / "README.md").read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", script], check=True)


def test_make_check_runs_every_tool():
    steps = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "--always-make", "check"],
        cwd=ROOT,
        # Run by make itself, the test would inherit that make's own flags.
        env={k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = [
        step
        for step in ("ruff format --check", "ruff check", "pyright", "lint-imports", "pytest")
        if re.search(rf"/{step}|-m {step}", steps)
    ]
    assert len(found) == 5, steps
    assert " -m pytest " in steps.splitlines()[-1], "pytest's closing line is the last one"
