"""The folder for Cloud Functions: one function that takes a Flask request."""

import os
import shlex
import subprocess
from pathlib import Path

from sartor.bundle import Bundle
from sartor.ship.api import Handed, Parcel
from tests.ship.places import write


def deployed(handed: Handed) -> list[str]:
    (step,) = (s for s in handed.steps if s.command.startswith("gcloud functions deploy"))
    return shlex.split(step.command)


def test_the_function_that_is_deployed_is_there(bundle: Bundle, tmp_path: Path):
    parcel = Parcel.of(bundle)
    words = deployed(write("cloud_functions", tmp_path / "gcf", parcel))
    (name,) = (w.partition("=")[2] for w in words if w.startswith("--entry-point="))
    assert f"\ndef {name}(request):\n" in (tmp_path / "gcf" / "main.py").read_text("utf-8")
    assert f"--runtime=python{parcel.python.replace('.', '')}" in words


def test_sartor_comes_from_the_folder_and_all_else_in_the_versions_of_here(
    bundle: Bundle, tmp_path: Path
):
    parcel = Parcel.of(bundle)
    write("cloud_functions", tmp_path / "gcf", parcel)
    lines = (tmp_path / "gcf" / "requirements.txt").read_text("utf-8").splitlines()
    (own,) = (line for line in lines if line.startswith("./"))
    assert (tmp_path / "gcf" / own).is_file()
    assert set(parcel.pins("")) < set(lines)
    assert not any(line.startswith("sartor") for line in lines)


def test_it_is_open_to_nobody_unless_that_was_said(bundle: Bundle, tmp_path: Path):
    words = deployed(write("cloud_functions", tmp_path / "iam", Parcel.of(bundle)))
    assert "--no-allow-unauthenticated" in words
    assert not any(word.startswith("--set-secrets") for word in words)

    handed = write("cloud_functions", tmp_path / "key", Parcel.of(bundle), access="key")
    words = deployed(handed)
    assert "--allow-unauthenticated" in words
    (given,) = (word for word in words if word.startswith("--set-secrets="))
    variable, _, secret = given.removeprefix("--set-secrets=").partition("=")
    assert variable == "SARTOR_API_KEY"
    made = [step.command for step in handed.steps if "gcloud secrets create" in step.command]
    assert len(made) == 1
    assert secret.removesuffix(":latest") in made[0]


_GCLOUD = """#!/bin/sh
echo "$*" >> asked
case "$1 $2" in
"secrets describe") [ -e "$3" ] ;;
"secrets create") [ ! -e "$3" ] && : > "$3" ;;
"secrets versions") [ -e "$4" ] && cat > "$4" ;;
"secrets add-iam-policy-binding") [ -s "$3" ] ;;
"config get-value") echo tickets-project ;;
"projects describe") echo 12345 ;;
esac
"""


def test_the_function_may_read_its_secret_and_is_deployed_a_second_time(
    bundle: Bundle, tmp_path: Path
):
    handed = write("cloud_functions", tmp_path / "gcf", Parcel.of(bundle), access="key")
    (tmp_path / "gcloud").write_text(_GCLOUD)
    (tmp_path / "gcloud").chmod(0o755)
    secrets = [step.command for step in handed.steps if "gcloud secrets" in step.command]
    path = f"{tmp_path}:{os.environ['PATH']}"

    for key in ("first", "second"):
        for command in secrets:
            ran = subprocess.run(
                ["sh", "-c", command],
                cwd=tmp_path,
                env={"PATH": path, "SARTOR_API_KEY": key},
                capture_output=True,
                check=False,
            )
            assert ran.returncode == 0, (command, ran.stderr)
        assert (tmp_path / "tickets-sartor-api-key").read_text() == key

    account = "serviceAccount:12345-compute@developer.gserviceaccount.com"
    bound = f"--member={account} --role=roles/secretmanager.secretAccessor"
    told = (tmp_path / "asked").read_text().splitlines()
    assert f"secrets add-iam-policy-binding tickets-sartor-api-key {bound}" in told
    order = [step.command.split()[1] for step in handed.steps if step.command.startswith("gcloud")]
    assert order.index("secrets") < order.index("functions")
