"""Whether bundles can be the parts of a product, and what they answer between them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sartor.bundle import Bundle
from sartor.core.errors import Fault, NeedError
from sartor.core.near import near_miss
from sartor.core.types import answer_key
from sartor.judge.replies import COMPARED
from sartor.need.criterion import Criterion
from sartor.need.graph import writers
from sartor.need.parts import HISTORY, TEXT, Part, Parts
from sartor.serve.opening import asks_llm, composed, replies, writes
from sartor.tasks import TASKS
from sartor.tasks.retrieval.spec import shown_by

_ANSWERS = ("label", "documents", "entities", "answer")
"""Keys of the answers that a part may find."""
_OTHER = (
    "name a bundle that answers with a label, documents, parts of the text, a part of a context, or"
    " a reply."
)
_Fault = tuple[str, str]
"""What a bundle does, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Members:
    """Parts and their bundles.

    Args:
        parts: Without `graph_faults`.
        bundles: Part to bundle, verified.
    """

    parts: Parts
    bundles: Mapping[str, Bundle]

    def unfit(self) -> list[Fault]:
        """Why bundles cannot be the parts that they are named for, each with its line."""
        faults: list[Fault] = []
        for name, part in self.parts.items():
            looked = (self._kind, self._role, self._reading, self._order, self._documents)
            told = next((found for look in looked if (found := look(name)) is not None), None)
            if told is not None:
                what = f"the part {name!r}, {self.bundles[name].manifest.name}, {told[0]}"
                faults.append(Fault(part.line, what, told[1]))
        return faults

    def labels(self, name: str) -> list[str] | None:
        """What a part chooses among, where cases can name that."""
        chooses = self._form(name) == "label" and not replies(self.bundles[name])
        return list(self.bundles[name].manifest.outputs) if chooses else None

    def outcomes(self) -> Iterator[str]:
        """Everything that some case may answer.

        Raises:
            NeedError: If a case answers with what is no outcome.
        """
        written = writers(self.parts)
        for name, part in self.parts.items():
            if name not in written:
                yield from self._outcomes(name, part)

    def _outcomes(self, name: str, part: Part) -> Iterator[str]:
        left = self._outputs(name)
        for case in part.cases(name):
            labels = [label for label in left if case.when is None or label in case.when]
            if case.closes:
                left = [label for label in left if label not in labels]
            given = name if case.say is not None else case.answer
            if given is None:
                continue
            if self._form(given) == "entities":
                what = f"answer: {given!r} finds parts of a text, which are no outcome"
                fix = "answer with the part whose label is one; the other's answer is in the path."
                raise NeedError("the need", [Fault(case.line, what, fix)])
            chooses = given == name and self.labels(name) is not None
            yield from labels if chooses else self._outputs(given)

    def _form(self, name: str) -> str:
        """Under which key a part's answers hold what it found."""
        return "documents" if self.parts[name].ranks else _key(self.bundles[name])

    def _outputs(self, name: str) -> list[str]:
        """What a part may answer."""
        ranked = self.parts[name].ranks
        return (
            list(self.bundles[name].manifest.outputs) if ranked is None else self._outputs(ranked)
        )

    def _listed(self, name: str) -> int:
        """Documents that an answer of a part lists; 0 where it finds none."""
        if self._form(name) != "documents":
            return 0
        part, manifest = self.parts[name], self.bundles[name].manifest
        if part.ranks is not None:
            return min(part.most, self._listed(part.ranks))
        return shown_by(manifest.decision, len(manifest.outputs))

    def _kind(self, name: str) -> _Fault | None:
        bundle = self.bundles[name]
        if composed(bundle):
            return "is a product itself", "list its parts instead."
        if asks_llm(bundle):
            return "asks a language model behind a URL", _OTHER
        if writes(bundle):
            return None if replies(bundle) else ("writes texts that are no replies", _OTHER)
        if (key := _key(bundle)) in _ANSWERS:
            return None
        return f"answers with {key!r}, which no row can be judged by here", _OTHER

    def _role(self, name: str) -> _Fault | None:
        """Those that say what was found are named by a case, and no others are."""
        named, does = name in writers(self.parts), self._speaks(name)
        if does and not named:
            words = replies(self.bundles[name])
            return (
                "replies in words, which are no outcome"
                if words
                else "quotes what it reads, which is no outcome",
                f"let no case go there; say it beside an answer: {{answer: …, reply: {name}}}.",
            )
        if named and not does:
            return (
                "is named under reply, and writes none",
                "name a bundle of text_generation or of question_answering there.",
            )
        return None

    def _speaks(self, name: str) -> bool:
        """Whether it says what was found: in words of its own, or in those of what it reads."""
        return replies(self.bundles[name]) or _key(self.bundles[name]) == "answer"

    def _reading(self, name: str) -> _Fault | None:
        """A bundle reads as many texts as its part names."""
        part, inputs = self.parts[name], self.bundles[name].manifest.inputs
        read = ", ".join(part.reads)
        if self._speaks(name):
            said, *found = part.reads
            quotes = not replies(self.bundles[name])
            alone = said in (TEXT, HISTORY) and not {TEXT, HISTORY} & {*found}
            if alone and (not quotes or len(found) == 1):
                return None
            if quotes:
                fix = "name the question and what may answer it, e.g. reads: [text, answers]."
                return f"reads {', '.join(inputs)}, and the part reads {read}", fix
            fix = "name what is replied to once and first, e.g. reads: [history, answers]."
            return f"replies to what was said, and the part reads {read}", fix
        if len(part.reads) == len(inputs) and {*inputs.values()} == {"text"}:
            return None
        what = f"reads {', '.join(inputs)}, and the part reads {read}"
        return what, "name a text for each under reads, in that order, e.g. reads: [text, answers]."

    def _order(self, name: str) -> _Fault | None:
        """What puts documents in order has a label for those that answer, and finds some."""
        part, manifest = self.parts[name], self.bundles[name].manifest
        if part.relevant is None or part.ranks is None:
            return None
        if _key(self.bundles[name]) != "label" or replies(self.bundles[name]):
            return "puts documents in order, and answers with no label", "name a text_pair bundle."
        if part.relevant not in manifest.outputs:
            fix = near_miss(part.relevant, manifest.outputs)
            return f"has no label {part.relevant!r:.80} that could be relevant", fix
        if not self._listed(part.ranks):
            fix = "let it read the part that finds them."
            return f"puts documents in order, and {part.ranks!r} finds none", fix
        return None

    def _documents(self, name: str) -> _Fault | None:
        """As many documents are read as answers list."""
        part = self.parts[name]
        if part.documents is None:
            return None
        most = max((self._listed(other) for other in part.read_parts()), default=0)
        if part.documents <= most:
            return None
        if not most:
            fix = "take `documents` out, or let it read a part that finds some."
            return "reads documents, and no part that it reads finds any", fix
        fix = f"write documents: {most}, or let the other's need look at more, e.g. recall_at_50."
        return f"reads {part.documents} documents, and {most} are listed", fix


def _key(bundle: Bundle) -> str:
    """Under which key a bundle's answers hold what is predicted."""
    return answer_key(TASKS.get(bundle.manifest.task)().roles.target_kind)


def part_faults(criteria: Sequence[Criterion], parts: Parts) -> list[Fault]:
    """Criteria on parts that are none, or on what a part does not do.

    Args:
        criteria: Of the need.
        parts: By name.
    """
    faults: list[Fault] = []
    written = writers(parts)
    for criterion in criteria:
        name = criterion.parameter("part")
        if not isinstance(name, str):
            continue
        of_words = criterion.metric in COMPARED
        if name not in parts:
            what, fix = f"no part is called {name!r:.80}", near_miss(name, parts)
        elif of_words and name not in written:
            what = f"the part {name!r} writes nothing"
            fix = f"write part_accuracy[part={name}]" + (
                f", or {criterion.metric}[part={min(written)}]." if written else "."
            )
        elif not of_words and name in written:
            what, fix = f"the part {name!r} writes", f"write e.g. rouge_l[part={name}] >= 0.3."
        else:
            continue
        faults.append(Fault(criterion.line, f"{criterion.text!r}: {what}.", fix))
    return faults
