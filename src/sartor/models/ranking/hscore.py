"""H-score: how much of the activations' variance lies between the classes.

H = tr(cov(F)⁻¹ cov(E[F | y])),  between 0 and classes − 1
Bao et al. 2019, https://ieeexplore.ieee.org/document/8803726

With fewer rows than activations the plain covariance has no inverse, and near that point its
inverse is noise; Ledoit and Wolf's shrinkage mends it (Ibrahim et al. 2021,
https://arxiv.org/abs/2110.06893):

cov_a = (1 − a) cov + a · tr(cov)/D · I,  H_a = (1 − a) tr(cov_a⁻¹ cov(E[F | y]))
"""

import numpy as np

from sartor.models.ranking.spectrum import Spectrum


def hscore(found: Spectrum) -> float:
    """Between 0 and classes − 1; higher is better.

    Unchanged by moving, rotating or scaling all activations.
    """
    shrink = shrinkage(found)
    variance = found.squares / found.rows
    level = variance.sum() / found.width
    # (UᵀPU)_ii with P the projection on the classes; U is centred, so centring Y changes nothing.
    between = (found.along**2 / found.counts).sum(1)
    kept = variance / ((1 - shrink) * variance + shrink * level)
    return float((1 - shrink) * (kept * between).sum())


def shrinkage(found: Spectrum) -> float:
    """Ledoit and Wolf's weight of the scaled identity, 0 to 1.

    Ledoit and Wolf 2004, https://doi.org/10.1016/S0047-259X(03)00096-4
    """
    variance = found.squares / found.rows
    size = float((variance**2).sum())
    distance = size - float(variance.sum()) ** 2 / found.width
    error = (float((found.norms**2).mean()) - size) / found.rows
    return float(np.clip(error / distance, 0.0, 1.0)) if distance > 0 else 1.0
