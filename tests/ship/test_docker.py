"""The image's Dockerfile, carried out here: what it installs, how it starts, answers and stops."""

import os
import shlex
import subprocess

import pytest
from ruamel.yaml import YAML

from sartor.core.errors import SettingError
from sartor.ship.writing import ship
from tests.ship.conftest import (
    KEY,
    as_list,
    ask,
    assert_same_answers,
    bare,
    contents,
    free_port,
    instructions,
    make_environment,
    pip_install,
    started,
    until_ready,
)


@pytest.fixture
def shipped(bundle, tmp_path):
    return ship(bundle.folder, "docker", tmp_path / "out").folder


@pytest.fixture
def lines(shipped):
    return instructions((shipped / "Dockerfile").read_text())


def test_what_the_dockerfile_installs_and_starts_answers_as_in_process_and_stops_when_told(
    bundle, shipped, lines, tmp_path
):
    before = contents(shipped)
    pins = (shipped / "requirements.txt").read_text().split()
    programs = make_environment(tmp_path / "venv", pins)
    (wheel,) = [
        rest
        for word, rest in lines
        if word == "RUN" and "pip install" in rest and rest.endswith(".whl")
    ]
    pip_install(programs, shlex.split(wheel)[2:], shipped)
    variables = dict(
        word.split("=", 1) for name, rest in lines if name == "ENV" for word in shlex.split(rest)
    )
    port = free_port()
    given = {"PATH": f"{programs}:{os.defpath}", "PORT": str(port), "SARTOR_API_KEY": KEY}
    environment = bare(**{**variables, **given})
    # Folders of the image, where they are here.
    places = {"/opt/sartor/bundle": str(shipped / "bundle"), "/data": str(tmp_path / "data")}
    command = as_list(dict(lines)["CMD"])
    for there, here in places.items():
        assert there in command[-1]
        command[-1] = command[-1].replace(there, here)

    healthy = as_list(dict(lines)["HEALTHCHECK"].partition("CMD ")[2])
    check = [str(programs / healthy[0]), *healthy[1:]]
    assert subprocess.run(check, env=environment, capture_output=True, check=False).returncode
    url = f"http://127.0.0.1:{port}"
    with started(command, environment, tmp_path) as server:
        until_ready(url, server)
        assert subprocess.run(check, env=environment, check=False).returncode == 0
        assert ask(url, key=None).status_code == 401
        assert_same_answers(ask(url).json()["outputs"], bundle)
    assert contents(shipped) == before, "the image may be read-only"
    assert (tmp_path / "data" / ".sartor" / "store.db").exists()


def test_a_new_bundle_reinstalls_nothing_and_the_server_is_not_root(shipped, lines):
    words = [f"{word} {rest}" for word, rest in lines]
    last_install = max(i for i, line in enumerate(words) if "pip install" in line)

    assert words.index("COPY bundle ./bundle") > last_install
    assert all("--no-deps" in line for line in words if "pip install" in line)
    assert dict(lines)["USER"] == "10001:10001"
    assert as_list(dict(lines)["CMD"])[2].startswith("exec sartor serve ")
    for word, rest in lines:
        if word == "COPY":
            assert (shipped / rest.split()[0]).exists()


def test_nothing_reaches_the_builder_but_what_is_copied(shipped, lines):
    ignored = (shipped / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}

    assert "*" in ignored
    copied = {rest.split()[0] for word, rest in lines if word == "COPY"}
    assert {f"*{name[-4:]}" if name.endswith(".whl") else name for name in copied} == allowed


def test_the_compose_file_takes_away_what_the_server_does_not_need(bundle, tmp_path):
    settings = {"memory_mib": "512", "port": "9000", "postgres": "true", "rate_limit": "50/s"}
    out = ship(bundle.folder, "docker", tmp_path / "out", settings).folder

    service = YAML(typ="safe").load(out / "compose.yaml")["services"]["model"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["mem_limit"] == "512m"
    assert service["ports"] == ["127.0.0.1:9000:9000"]
    assert set(service["environment"]) == {"SARTOR_API_KEY", "SARTOR_STORE_URL"}
    assert all(value.startswith("${") for value in service["environment"].values())
    assert "--rate-limit 50/s" in (out / "Dockerfile").read_text()
    assert "psycopg" in (out / "requirements.txt").read_text()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("base", "python:3.11\nRUN curl evil"),
        ("rate_limit", "1/s; reboot"),
        ("publish", "everywhere"),
        ("port", "80"),
        ("threads", "0"),
        ("postgres", "perhaps"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_before_anything_is_written(
    bundle, tmp_path, setting, value
):
    with pytest.raises(SettingError) as caught:
        ship(bundle.folder, "docker", tmp_path / "out", {setting: value})

    assert setting in str(caught.value) or "rate" in str(caught.value)
    assert not (tmp_path / "out").exists()
