"""Pairs in the wrong columns: a text where the label belongs, or the two texts the other way round.

Only what the rows themselves give away is reported: a cell that repeats a label whose own cell
holds something else, and a row both of whose texts stand on the other side wherever else they are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from sartor.data.labels import LabelFault, Labelled

_FIX = "put the cells of the row into the right columns"


def misplaced(rows: Labelled, inputs: Mapping[str, Sequence[str]]) -> list[LabelFault]:
    """Rows whose label stands in a text's column; none where there is a single text.

    Args:
        rows: With labels normalised.
        inputs: Role to the texts of the same rows.
    """
    if len(inputs) < 2:
        return []
    counts = Counter(name for names in rows.labels for name in names)
    usual = {label for label, count in counts.items() if count > 1}
    found: list[LabelFault] = []
    for i, names in enumerate(rows.labels):
        label = "; ".join(names)
        if usual.issuperset(names):
            continue
        for role, texts in inputs.items():
            if texts[i] in usual:
                what = (
                    f"the pair is in the wrong columns: {role} reads {texts[i]!r}, which is a"
                    f" label, and the label reads {label[:60]!r}"
                )
                found.append(LabelFault(label, (rows.places[i],), what, _FIX))
                break
    return found


def swapped(
    inputs: Mapping[str, Sequence[str | None]], alive: Sequence[int]
) -> dict[int, tuple[str, str]]:
    """Rows with two texts that each stand under the other role in all other rows.

    Args:
        inputs: Role to texts, of all rows.
        alive: Rows to look at.

    Returns:
        Index to (reason, detail).
    """
    counts = {role: Counter(texts[i] for i in alive) for role, texts in inputs.items()}
    found: dict[int, tuple[str, str]] = {}
    for one, other in combinations(inputs, 2):
        for i in alive:
            a, b = inputs[one][i], inputs[other][i]
            # Twice each: one other row may be the one that is the wrong way round.
            alone = counts[one][a] == 1 and counts[other][b] == 1
            if a != b and alone and min(counts[other][a], counts[one][b]) > 1:
                detail = (
                    f"its {one} stands under {other} in {counts[other][a]:,} other rows, and its"
                    f" {other} under {one} in {counts[one][b]:,}: swap them"
                )
                found[i] = ("pair in the wrong columns", detail)
    return found
