"""The rung `prompted` where the language model is on this machine: a fit like any other.

Nothing leaves the machine and nothing is asked of others: the model is a backbone of its own, the
tuner puts the prompt into its graph, and what ships is a graph.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sartor.core.errors import SettingError, UnknownName
from sartor.core.events import Emit, Note
from sartor.core.hashing import digest
from sartor.core.types import Backbone, Candidate
from sartor.data.prepare import Prepared
from sartor.llm.prompt import draw_examples
from sartor.models.catalogue import find_backbone
from sartor.models.chat_template import read_template
from sartor.models.choose import coverage
from sartor.need.model import LocalLlm, Need
from sartor.search.estimates import Work, prompting
from sartor.search.feasible import Body, Dropped, Sieve
from sartor.search.ladder import Rung
from sartor.search.rungs import method_order
from sartor.tune.api import asks
from sartor.tune.framing import Question
from sartor.tune.methods.prompted import prompt_of

_ENOUGH = 0.9


def find_local(need: Need, root: Path, emit: Emit) -> Backbone | None:
    """The language model that the need names by its own name; None where none would be asked.

    Raises:
        UnknownName: If nothing has that name.
        ModelError: If it is missing, cannot be fetched, or must not be loaded.
    """
    llm = need.prefer.llm
    if not isinstance(llm, LocalLlm):
        return None
    if not any(map(asks, method_order(need.prefer.methods, llm=True, task=need.task))):
        return None
    try:
        found = find_backbone(llm.local, root=root, emit=emit, kind="llm")
    except UnknownName as error:
        fix = f"{error.fix} One behind a URL is written llm: {{url: …, model: {llm.local}}}."
        raise UnknownName(error.what, fix=fix) from None
    # Equal weights behind another template are another model.
    template = read_template(Path(found.path))
    written = () if template is None else (template.text, dict(template.tokens))
    return replace(found, sha256=digest(found.sha256, *written))


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for the candidates of every rung.

    Args:
        outputs: The labels.
        sieve: What rules a candidate out.
        work: How much there is to compute with a backbone.
    """

    outputs: Sequence[str]
    sieve: Sieve
    work: Callable[[Backbone], Work]


@dataclass(frozen=True, slots=True)
class Prompting:
    """The language model of a need that is on this machine.

    Args:
        backbone: The model.
        need: Names it, and says how many examples it is shown.
        rules: See `Rules`.
        cut: Tokens a text is cut at.
        emit: Progress.
    """

    backbone: Backbone
    need: Need
    rules: Rules
    cut: int
    emit: Emit

    def warn(self, languages: Mapping[str, float]) -> None:
        """Say so where the texts are in a language that the model was not trained on."""
        share = coverage(self.backbone.languages, languages)
        if share < _ENOUGH:
            known = ", ".join(self.backbone.languages)
            self.emit(
                Note(
                    f"{self.backbone.name} reads {known}, which {share:.0%} of these texts are in:"
                    " what it answers about the others is worth little.",
                    "warning",
                )
            )

    def rung(self, method: str, rows: Prepared) -> Rung | Dropped:
        """The rung with its price, or why it is not climbed.

        Args:
            method: Its name.
            rows: Training rows are shown, validation rows answered.
        """
        backbone, llm, licences = self.backbone, self.need.prefer.llm, self.need.prefer.licences
        assert isinstance(llm, LocalLlm)
        if licences is not None and backbone.licence not in licences:
            why = f"its licence {backbone.licence} is not among prefer.licences"
            return Dropped(method, backbone.name, why)
        work, settings = self.rules.work(backbone), {"examples": llm.examples}
        candidate = Candidate(backbone.name, backbone.sha256, method, settings, self.need.seed)
        body = Body(backbone, backbone.layers)
        if found := self.rules.sieve.why_not(body, candidate, work):
            return found
        train = rows.train
        shown = draw_examples(
            train.inputs["text"], train.target, self.rules.outputs, llm.examples, self.need.seed
        )
        question = Question(self.rules.outputs, self.need.data.label_descriptions, shown)
        try:
            prompt = prompt_of(backbone, question, self.cut)
        except SettingError as error:
            return Dropped(method, backbone.name, error.what)
        behind = len(prompt.behind) + len(prompt.choices.ids)
        price = prompting(backbone, (len(prompt.before), behind), len(rows.validation), work)
        each = price.text_seconds
        self.emit(
            Note(
                f"{method} reads every text behind a prompt of {len(prompt.before):,} tokens with"
                f" {len(shown)} labelled examples, here: {_ms(each.low)} to"
                f" {_ms(each.high)} ms a text."
            )
        )
        return Rung(method, (candidate,), False, price.rung)


def _ms(seconds: float) -> str:
    found = 1000 * seconds
    return f"{found:,.0f}" if found >= 10 else f"{found:.2g}"
