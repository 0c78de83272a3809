"""The unit that is shipped: systemd accepts it, and what it starts answers and stops."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from sartor.core.errors import SettingError
from sartor.ship.writing import ship
from tests.ship.conftest import (
    KEY,
    ask,
    assert_same_answers,
    bare,
    free_port,
    make_environment,
    pip_install,
    started,
    until_ready,
)


def unit_of(folder) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=["="])
    parser.optionxform = str  # systemd's names have capitals
    (place,) = folder.glob("*.service")
    parser.read(place, "utf-8")
    return {name: dict(parser[name]) for name in parser.sections()}


def test_the_printed_steps_install_what_the_unit_starts(bundle, tmp_path):
    prefix, port = tmp_path / "opt", free_port()
    settings = {"prefix": str(prefix), "port": str(port), "host": "127.0.0.1"}
    found = ship(bundle.folder, "systemd", tmp_path / "out", settings)
    out, commands = found.folder, [step.command for step in found.handed.steps]
    place = prefix / "tickets"

    # The first step's venv, with the second step's versions.
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert commands[0] == f"sudo {python} -m venv {place}/venv"
    programs = make_environment(place / "venv", (out / "requirements.txt").read_text().split())
    words = shlex.split(commands[2])
    assert words[:3] == ["sudo", f"{programs}/pip", "install"]
    pip_install(programs, words[3:], out)
    subprocess.run(["sh", "-ec", commands[3].replace("sudo ", "")], cwd=out, check=True)

    unit = unit_of(out)["Service"]
    if shutil.which("systemd-analyze"):
        verify = ["systemd-analyze", "verify", "--man=no", str(out / "tickets.service")]
        done = subprocess.run(verify, capture_output=True, text=True, check=False)
        assert "tickets.service" not in done.stderr, done.stderr
    state = tmp_path / "state"
    state.mkdir()
    command = shlex.split(unit["ExecStart"].replace("/var/lib/tickets", str(state)))
    name, _, value = unit["Environment"].strip('"').partition("=")
    assert (name, value) == ("ORT_DISABLE_TELEMETRY", "1")
    environment = bare(**{name: value})
    url = f"http://127.0.0.1:{port}"
    with started(command, environment, state) as server:
        until_ready(url, server)
        assert_same_answers(ask(url, key=None).json()["outputs"], bundle)


def test_a_server_for_others_is_given_a_key_that_root_alone_can_read(bundle, tmp_path):
    settings = {"host": "0.0.0.0", "postgres": "yes", "tls": "on", "memory_mib": "700"}
    found = ship(bundle.folder, "systemd", tmp_path / "out", settings)

    unit = unit_of(found.folder)["Service"]
    assert unit["EnvironmentFile"] == "/etc/tickets/environment", "without it nothing starts"
    assert unit["LoadCredential"] == "tls.pem:/etc/tickets/tls.pem"
    assert unit["ExecStart"].endswith("--tls-cert ${CREDENTIALS_DIRECTORY}/tls.pem")
    assert unit["MemoryMax"] == "700M"
    (written,) = [s.command for s in found.handed.steps if "/dev/stdin" in s.command]
    assert "-m 600" in written
    printed = re.search(r"printf .*(?= \| sudo)", written)[0]  # type: ignore[index]
    said = subprocess.run(["sh", "-c", printed], capture_output=True, text=True, check=False)
    key, store = said.stdout.splitlines()
    assert re.fullmatch(r"SARTOR_API_KEY=[0-9a-f]{64}", key)
    assert store == "SARTOR_STORE_URL="


def test_the_process_may_write_one_folder_and_gains_nothing(bundle, tmp_path):
    unit = unit_of(ship(bundle.folder, "systemd", tmp_path / "out").folder)["Service"]

    assert unit["DynamicUser"] == "yes"
    assert unit["StateDirectory"] == "tickets"
    assert unit["CapabilityBoundingSet"] == ""
    assert unit["ProtectSystem"] == "strict"
    assert unit["EnvironmentFile"].startswith("-"), "on loopback there may be no key"
    assert {"MemoryMax", "LoadCredential"}.isdisjoint(unit)
    assert KEY not in str(unit)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("prefix", "opt"), ("prefix", "/opt/a b"), ("host", "a\nUser=root"), ("port", "80")],
)
def test_a_setting_that_cannot_stand_in_a_unit_is_refused(bundle, tmp_path, setting, value):
    with pytest.raises(SettingError, match=setting):
        ship(bundle.folder, "systemd", tmp_path / "out", {setting: value})
