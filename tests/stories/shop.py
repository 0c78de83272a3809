"""A small shop with real parts: a BERT of a few kilobytes, reviews that words decide, a need."""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sartor.cli import main
from tests.tiny import make_tiny_bert

SARTOR = (sys.executable, "-c", "from sartor.cli import main; main()")
GOOD = ("good", "great", "love", "fine", "thanks")
BAD = ("bad", "awful", "hate", "broken", "late")
_FILL = ("the", "a", "is", "was", "very", "this", "that", "and", "it", "my", "order", "price")
NEED = """name: reviews
task: text_classification
data:
  train: reviews.csv
  text: text
  label: label
accept:
  - accuracy >= 0.80
  - size_mb <= 5
prefer: {backbones: [./tiny]}
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command left."""

    status: int
    out: str
    err: str


def reviews(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label), all texts different; two words of a text give its label away."""
    draw = random.Random(seed)
    rows: dict[str, str] = {}
    while len(rows) < count:
        label = draw.choice(("good", "bad"))
        words = [draw.choice(_FILL) for _ in range(draw.randint(4, 10))]
        for _ in range(2):
            words.insert(draw.randrange(len(words)), draw.choice(GOOD if label == "good" else BAD))
        rows[" ".join(words)] = label
    return list(rows.items())


def write_csv(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    path.write_text("".join(f"{text},{label}\n" for text, label in [("text", "label"), *rows]))
    return path


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def furnished(folder: Path, need: str) -> Path:
    """A folder with `tiny/` and `need.yaml`."""
    folder.mkdir(parents=True, exist_ok=True)
    make_tiny_bert(folder / "tiny")
    (folder / "need.yaml").write_text(need)
    return folder


def open_shop(folder: Path, need: str = NEED) -> Path:
    """The same, with `reviews.csv`."""
    write_csv(furnished(folder, need) / "reviews.csv", reviews(400))
    return folder


def copy_of(shop: Path, folder: Path) -> Path:
    return Path(shutil.copytree(shop, folder, dirs_exist_ok=True))


def environment(**more: str) -> dict[str, str]:
    """For a process of its own: our sources, no hub."""
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    paths = [p for p in sys.path if p]
    return {**plain, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"} | more


def start(*arguments: object, cwd: Path, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*SARTOR, *map(str, arguments)],
        cwd=cwd,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def command(*arguments: object, cwd: Path, **more: str) -> Said:
    """`sartor …` in a process of its own."""
    process = start(*arguments, cwd=cwd, **more)
    out, err = process.communicate(timeout=240)
    return Said(process.returncode, out, err)


class Here:
    """`sartor …` in this process, in one folder: the same entry point, without the imports."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: Any, folder: Path) -> None:
        self.monkeypatch, self.capsys, self.folder = monkeypatch, capsys, folder

    def __call__(self, *arguments: object) -> Said:
        with self.monkeypatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["sartor", *map(str, arguments)])
            patch.setattr(sys, "excepthook", sys.excepthook)
            self.capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        said = self.capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)


def ran(here: Here) -> dict[str, Any]:
    """What a run of `need.yaml` came to, its criteria met or not."""
    said = here("run", "need.yaml", "--json")
    assert said.status in (0, 1), said.err
    return json.loads(said.out)


def refused(said: Said, *words: str) -> None:
    """A user's mistake: status 2, what and fix on stderr, nothing on stdout, no traceback."""
    assert said.status == 2, said
    assert "Traceback" not in said.err
    assert "Fix: " in said.err
    assert said.out == ""
    told = " ".join(said.err.split())
    for word in words:
        assert word in told or word in said.err, f"{word!r} is not in: {said.err}"


def exported(here: Here, bundle: str) -> Path:
    """The folder that `sartor bundle export` writes of a bundle; it answers as the bundle does."""
    said = here("bundle", "export", bundle, "--transformers", "exported", "--json")
    assert said.status == 0, said.err
    told = json.loads(said.out)
    assert 0 <= told["difference"] < 0.2
    folder = here.folder / told["folder"]
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.rglob("*"))
    return folder


def bundle_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
