"""Equal things have equal keys in every process; different things have different ones."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from sartor.core.hashing import (
    canonical,
    digest,
    file_sha256,
    sources_sha256,
    text_digest,
    versions,
)


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: object = 0


@dataclass(frozen=True, slots=True)
class Size:
    x: float
    y: object = 0


class Row(BaseModel):
    name: str


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), plain, max_size=5))
def test_the_order_of_a_mapping_does_not_count(value):
    turned = dict(reversed(value.items()))
    assert digest(value) == digest(turned)


@given(plain)
def test_every_json_value_has_a_key(value):
    assert len(digest(value)) == 64


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Point(1, 2), Point(1.0, 2)),
        (Point(1, 2), Size(1, 2)),
        (Point(1, Point(1)), Point(1, Size(1))),
        (1, "1"),
        (1, True),
        (None, "null"),
        (["a", "b"], ["ab"]),
        ({"a": 1}, {"b": 1}),
        ("\ud800", "?"),
        ("e\u0301", "é"),
        ({1, 2}, {1, 3}),
    ],
)
def test_different_things_have_different_keys(one, other):
    assert digest(one) != digest(other)


def test_parts_are_not_run_together():
    assert digest("a", "b") != digest("ab")
    assert digest("a", "b") != digest(["a", "b"])
    assert digest() != digest(None)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ((1, 2), "[1,2]"),
        ({"b": 1, "a": "好"}, '{"a":"好","b":1}'),
        ({3, 1, 2}, "[1,2,3]"),
        (frozenset(("b", "a")), '["a","b"]'),
        (Path("a/b"), '"a/b"'),
        (MappingProxyType({"a": {1}}), '{"a":[1]}'),
        (Row(name="x"), '{"name":"x"}'),
        (Point(1, (2,)), '{"__type__":"Point","x":1,"y":[2]}'),
        ([Point(1), {"k": Point(2)}], None),
    ],
)
def test_the_canonical_form(value, form):
    found = canonical(value)
    assert found == form if form else '"__type__":"Point"' in found


@pytest.mark.parametrize("value", [object(), b"bytes", Point, {(1, 2): 3}, {1: "a", "b": 2}])
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(TypeError):
        digest(value)


def test_keys_are_the_same_in_every_process():
    code = """
from sartor.core.hashing import digest
mixed = {1, "1", 2, "2", 3, "3", "x", "y"}
nested = frozenset(frozenset(pair) for pair in ("ab", "bc", "cd", "da", "ac"))
print(digest({"b": mixed, "a": nested}, "\\ud83d"))
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(found) == 1


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_has_a_key_even_with_lone_surrogates(text):
    assert len(text_digest(text)) == 16
    assert len(digest(text)) == 64


def test_a_text_key_is_the_start_of_its_sha256():
    assert text_digest("好") == hashlib.sha256("好".encode()).digest()[:16]


def test_a_file_is_hashed_over_all_its_pieces(tmp_path):
    data = os.urandom((1 << 20) + 17)
    (tmp_path / "f").write_bytes(data)
    assert file_sha256(tmp_path / "f") == hashlib.sha256(data).hexdigest()


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "a_package_to_hash"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "inner" / "__init__.py").write_text("")
    (folder / "inner" / "part.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sources_sha256.cache_clear()
    yield folder
    sources_sha256.cache_clear()


def fresh(*packages: str) -> str:
    sources_sha256.cache_clear()
    return sources_sha256(*packages)


def test_the_key_of_a_package_changes_with_any_source_below_it(package):
    name = package.name
    before = fresh(name)
    assert fresh(name) == before
    (package / "inner" / "part.py").write_text("x = 2\n")
    changed = fresh(name)
    (package / "inner" / "part.py").rename(package / "part.py")
    moved = fresh(name)
    assert len({before, changed, moved}) == 3


def test_a_module_alone_has_a_key_and_the_order_of_the_names_does_not_count(package):
    part = f"{package.name}.inner.part"
    assert fresh(part) != fresh(package.name)
    assert fresh(part, package.name) == fresh(package.name, part)


@pytest.mark.parametrize("name", ["no_such_package_here", "sartor.core.no_such_module"])
def test_a_package_that_does_not_exist_is_not_left_out_silently(name):
    with pytest.raises(ModuleNotFoundError):
        fresh("sartor.core.near", name)


def test_versions_leave_out_what_is_not_installed():
    found = versions("numpy", "no-such-distribution-anywhere")
    assert list(found) == ["numpy"]
    found["numpy"] = "changed by a caller"
    assert versions("numpy", "no-such-distribution-anywhere") != found
