"""A label as what a language model would have to write: choices between tokens, one after another.

log p(label) = Σ_n log softmax(z_n over the tokens that go on from node n)[the label's token]

The labels' tokens, each label's closed by the token that ends an answer, are a tree. A model that
may write nothing but a label chooses among the children of a node, so the softmax is over these:
where only one label goes on from a node there is nothing to choose, and a label is known from the
first token that tells it apart. Summed over the labels the probabilities are 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choices:
    """Places are those of a sequence that begins with the end of the prompt: -1 is its last token.

    Args:
        ids: Tokens that have to be read to get to the choices, after the prompt.
        parents: Place before each of `ids`; -1 for the prompt's end.
        places: Place after which each choice is made.
        tokens: What is chosen; choices of one place compete.
        paths: For each label the indices of the choices that lead to it.
    """

    ids: tuple[int, ...]
    parents: tuple[int, ...]
    places: tuple[int, ...]
    tokens: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]

    @staticmethod
    def among(labels: Sequence[Sequence[int]]) -> "Choices":
        """The choices between token sequences.

        Args:
            labels: At least two, all different, none the beginning of another.

        Raises:
            ValueError: If two are the same, or one begins another.
        """
        ids: list[int] = []
        parents: list[int] = []
        made: list[tuple[int, int]] = []
        paths: list[list[int]] = [[] for _ in labels]

        def grow(place: int, depth: int, members: Sequence[int]) -> None:
            """What follows a place that the labels in `members` share."""
            by_token: dict[int, list[int]] = {}
            for label in members:
                if depth >= len(labels[label]):
                    raise ValueError("one label is the same as another, or its beginning")
                by_token.setdefault(labels[label][depth], []).append(label)
            for token, going in by_token.items():
                if len(by_token) > 1:
                    for label in going:
                        paths[label].append(len(made))
                    made.append((place, token))
                if len(going) > 1:
                    ids.append(token)
                    parents.append(place)
                    grow(len(ids) - 1, depth + 1, going)

        grow(-1, 0, range(len(labels)))
        return Choices(
            tuple(ids),
            tuple(parents),
            tuple(place for place, _ in made),
            tuple(token for _, token in made),
            tuple(map(tuple, paths)),
        )

    def depths(self) -> list[int]:
        """How many tokens each of `ids` stands behind the prompt's end, from 0."""
        found: list[int] = []
        for parent in self.parents:
            found.append(0 if parent < 0 else found[parent] + 1)
        return found

    def sees(self) -> list[list[bool]]:
        """(ids, ids) whether the first reads the second: itself, and what leads to it."""
        count = len(self.ids)
        found = [[False] * count for _ in range(count)]
        for place, parent in enumerate(self.parents):
            if parent >= 0:
                found[place][:] = found[parent]
            found[place][place] = True
        return found
