"""The folder for Ray Serve: an application, and a configuration that Ray reads."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sartor.bundle import Bundle
from sartor.core.errors import SettingError
from sartor.ship.api import Parcel
from tests.composed import intent
from tests.serve import test_pairs, test_recommending, test_table
from tests.ship.places import write


def config(folder: Path) -> dict[str, Any]:
    return YAML(typ="safe").load((folder / "config.yaml").read_text("utf-8"))


def test_the_application_that_the_configuration_names_is_there(bundle: Bundle, tmp_path: Path):
    write("ray_serve", tmp_path / "ray", Parcel.of(bundle), threads=3)
    (application,) = config(tmp_path / "ray")["applications"]
    module, _, name = application["import_path"].partition(":")
    text = (tmp_path / "ray" / f"{module}.py").read_text("utf-8")
    (deployment,) = application["deployments"]
    assert f"\n{name} = {deployment['name']}.bind()\n" in text
    assert deployment["ray_actor_options"] == {"num_cpus": 3}
    assert "threads=3," in text


def test_a_key_is_wanted_where_others_can_reach_the_proxies(bundle: Bundle, tmp_path: Path):
    here = write("ray_serve", tmp_path / "here", Parcel.of(bundle))
    there = write("ray_serve", tmp_path / "there", Parcel.of(bundle), host="0.0.0.0")
    assert config(tmp_path / "there")["http_options"]["host"] == "0.0.0.0"
    assert 'host="0.0.0.0"' in (tmp_path / "there" / "application.py").read_text("utf-8")
    assert not any("SARTOR_API_KEY" in step.command for step in here.steps)
    assert any("SARTOR_API_KEY" in step.command for step in there.steps)


@pytest.mark.parametrize(
    ("given", "what"),
    [({"replicas": 5, "most": 4}, "most=4 is less"), ({"host": "ray.example"}, "no address")],
)
def test_settings_that_do_not_fit_are_refused(
    bundle: Bundle, tmp_path: Path, given: dict[str, Any], what: str
):
    with pytest.raises(SettingError, match=what):
        write("ray_serve", tmp_path / "ray", Parcel.of(bundle), **given)


_RAY = """
class serve:
    ingress = staticmethod(lambda build: lambda kind: kind)

    @staticmethod
    def deployment(kind):
        kind.bind = classmethod(lambda kind: kind)
        return kind
"""
_CHECKED = """
import asyncio, sys
sys.path[:0] = sys.argv[1:]
import application
asyncio.run(application.Sartor.check_health(object()))
"""


@pytest.mark.parametrize("form", ["text", "pair", "table", "items"])
def test_a_replica_is_healthy_whatever_form_its_rows_have(form: str, tmp_path: Path):
    made = {
        "text": intent,
        "pair": test_pairs.made,
        "table": lambda place: test_table.made(place, text=False),
        "items": test_recommending.made,
    }
    write("ray_serve", tmp_path / "ray", Parcel.of(made[form](tmp_path / "made")))
    # In place of Ray, whose server is not installed here: what it makes of a class.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ray.py").write_text(_RAY, "utf-8")

    words = [sys.executable, "-c", _CHECKED, tmp_path / "other", tmp_path / "ray"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr


def test_ray_is_pinned_with_what_serving_needs(bundle: Bundle, tmp_path: Path):
    write("ray_serve", tmp_path / "ray", Parcel.of(bundle), postgres=True)
    lines = (tmp_path / "ray" / "requirements.txt").read_text("utf-8").splitlines()
    assert next(line for line in lines if line.startswith("ray")).startswith("ray[serve]==")
    assert any(line.startswith("psycopg==") for line in lines)
    assert any(line.startswith("starlette==") for line in lines)
