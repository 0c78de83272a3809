"""Whether bfloat16 is faster than float32 on this machine: measured, since it cannot be looked up.

A CPU without bfloat16 instructions emulates them, up to a hundred times slower; one with them gains
1.5 to 2 times. The probe times the matrix product that an encoder spends most of its time in. A GPU
says of itself whether it has them; how fast the CPU is is still of use, since bundles serve there.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Literal

_ROWS, _IN, _OUT = 1024, 384, 1536
_LEAST_GAIN = 1.15
"""bfloat16 rounds to 8 bits: a gain below this is not worth them."""


@dataclass(frozen=True, slots=True)
class Precision:
    """The arithmetic to encode and train in, and what the choice rests on.

    Args:
        dtype: "bfloat16" where it measured at least 15 % faster, or the GPU has it; else "float32".
        fp32_gflops: The CPU's, measured, 10⁹ floating-point operations a second; 0 when not.
        bf16_gflops: Likewise.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    fp32_gflops: float = 0.0
    bf16_gflops: float = 0.0


def probe(rounds: int = 12) -> Precision:
    """Time (1024, 384) × (384, 1536) in both types; well under a second.

    Args:
        rounds: Repetitions of each type, alternating; the fastest counts, since other work on the
            machine only ever slows one down.
    """
    import torch

    operands = {
        dtype: (torch.ones(_ROWS, _IN, dtype=dtype), torch.ones(_OUT, _IN, dtype=dtype))
        for dtype in (torch.float32, torch.bfloat16)
    }
    best = dict.fromkeys(operands, float("inf"))
    with torch.inference_mode():
        for _ in range(rounds):
            for dtype, (rows, weights) in operands.items():
                began = perf_counter()
                torch.nn.functional.linear(rows, weights)
                best[dtype] = min(best[dtype], perf_counter() - began)
    operations = 2 * _ROWS * _IN * _OUT / 1e9
    fp32, bf16 = (operations / best[dtype] for dtype in (torch.float32, torch.bfloat16))
    narrow = bf16 >= _LEAST_GAIN * fp32
    if torch.cuda.is_available():
        narrow = torch.cuda.is_bf16_supported(including_emulation=False)
    return Precision("bfloat16" if narrow else "float32", fp32, bf16)
