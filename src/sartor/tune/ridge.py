"""Many ridge regressions on the same rows, in closed form.

min over w, b of  C · ½ Σ_i s_i · ((w·x_i + b − y_i) / d)² + ½‖w‖²        for each (C, s)

y and d are the training rows' numbers and their deviation, so that a strength means the same
whatever the numbers count; s is 1, or 0 where a fold leaves a row out. In the basis of the Gram
matrix of the rows that count, (λ_r + 1/C) w_r = x_r·y for each direction r, so one decomposition
serves every C (Hoerl and Kennard 1970, https://doi.org/10.1080/00401706.1970.10488634).
"""

from collections.abc import Sequence

import numpy as np

from sartor.core.likelihood import Truth
from sartor.core.protocols import Floats
from sartor.tune.logistic import Doubles, Rotated


def solve_ridge(
    rotated: Rotated, numbers: Truth, strengths: Sequence[float], kept: Floats
) -> list[tuple[Doubles, Doubles]]:
    """Solve every problem.

    Args:
        rotated: The rows.
        numbers: (rows,).
        strengths: C of each problem.
        kept: (parts, rows): 1 where a row is fitted on, else 0.

    Returns:
        (1, features) weights and (1,) biases in the numbers' own unit, one a strength and part, the
        parts of a strength together.
    """
    parts = [_solve(rotated, np.asarray(numbers, np.float64), strengths, part) for part in kept]
    return [part[i] for i in range(len(strengths)) for part in parts]


def _solve(
    rotated: Rotated, numbers: Doubles, strengths: Sequence[float], part: Floats
) -> list[tuple[Doubles, Doubles]]:
    counted = part > 0
    rows, wanted = rotated.rows[counted, :-1].astype(np.float64), numbers[counted]
    deviation, level, centre = wanted.std() or 1.0, wanted.mean(), rows.mean(0)
    # About their means neither side has a bias, which is not penalised.
    rows -= centre
    pull = rows.T @ ((wanted - level) / deviation)
    squares, basis = np.linalg.eigh(rows.T @ rows)
    turned = basis.T @ pull
    found: list[tuple[Doubles, Doubles]] = []
    for strength in strengths:
        slope = basis @ (turned / (np.maximum(squares, 0.0) + 1 / strength)) * deviation
        bias = np.array([level - centre @ slope])
        found.append(((rotated.basis @ slope)[None, :], bias))
    return found
