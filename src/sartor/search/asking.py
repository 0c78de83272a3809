"""The rung `prompted`: a language model that the need names is asked about the validation rows.

What an outside service does is a fact: answers are remembered by content, and whether asking
succeeded is recorded once a run, so that a resumed run goes the same way.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.addresses import origin
from sartor.core.errors import LlmError
from sartor.core.events import Emit, Note
from sartor.core.hashing import digest
from sartor.core.types import Backbone, Candidate, Examples
from sartor.data.prepare import Prepared
from sartor.llm.asker import Asker, Asks
from sartor.llm.chat import Chat
from sartor.llm.memory import Memory
from sartor.llm.prompt import FILE, Prompt, draw_examples, instructions
from sartor.need.model import Llm, Need
from sartor.search.estimates import asking
from sartor.search.feasible import Dropped
from sartor.search.ladder import Rung, Scored
from sartor.search.rungs import method_order
from sartor.tune.api import asks


def backbone_of(llm: Llm) -> Backbone:
    """The model as a backbone: its URL and name stand for weights that nobody here can hash."""
    return Backbone(
        name=f"{llm.model} at {origin(llm.url)}",
        source="llm",
        path=llm.url,
        sha256=digest("llm", llm.url, llm.model),
        licence="unknown",
        languages=("*",),
        parameters=0,
        layers=0,
        width=0,
    )


def check_key(need: Need) -> None:
    """Find out before anything is read that the key of a language model to be asked is missing.

    Raises:
        SettingError: If it is.
        UnknownName: If the need names a method that does not exist.
    """
    llm = need.prefer.llm_url
    if llm is not None and any(
        map(asks, method_order(need.prefer.methods, llm=True, task=need.task))
    ):
        Chat(llm.url, llm.model, llm.key)


@dataclass(frozen=True, slots=True)
class Asking:
    """The language model of a need.

    Args:
        llm: As the need names it.
        outputs: The labels.
        descriptions: What the need says they mean.
        memory: Of the workspace: what it has answered.
        fact: Records what asking came to, once a run.
        emit: Progress.
    """

    llm: Llm
    outputs: tuple[str, ...]
    descriptions: Mapping[str, str]
    memory: Memory
    fact: Callable[[str, Callable[[], Any]], Any]
    emit: Emit

    def rung(self, method: str, rows: Prepared, seed: int, most: int | None) -> Rung | Dropped:
        """The rung with its price, or why it is not climbed.

        Args:
            method: Its name.
            rows: The validation rows are asked about, and the test rows if it is chosen.
            seed: Of the examples.
            most: Texts that may be asked about, None for any number.
        """
        backbone = backbone_of(self.llm)
        settings = {"examples": self.llm.examples}
        candidate = Candidate(backbone.name, backbone.sha256, method, settings, seed)
        prompt = self.prompt(candidate, rows.train)
        texts = dict.fromkeys([*rows.validation.inputs["text"], *rows.test.inputs["text"]])
        shown = sum(len(m["content"]) for m in prompt.messages(""))

        def unanswered() -> list[int]:
            addresses = {text: prompt.address(text, self.outputs) for text in texts}
            new = [text for text in texts if self.memory.recall(addresses[text]) is None]
            return [len(new), sum(shown + len(prompt.cut(text)) for text in new)]

        # A resumed run has answers in its memory that the plan did not know of.
        requests, chars = self.fact(f"unanswered {candidate.key[:16]}", unanswered)
        if most is not None and requests > most:
            why = f"it would ask about {requests:,} texts, and budget.requests allows {most:,}"
            return Dropped(method, backbone.name, why)
        found = asking(requests, chars, len(prompt.to_json().encode()))
        if requests:
            self.emit(
                Note(
                    f"{method} sends up to {requests:,} texts (about {found.tokens:,} tokens) to"
                    f" {origin(self.llm.url)}, each with {len(prompt.examples)} labelled examples."
                )
            )
        return Rung(method, (candidate,), False, found)

    def fit(
        self, candidate: Candidate, rows: Prepared, deadline: float = math.inf
    ) -> Scored | LlmError:
        """The model's answers to the validation rows; training rows are only shown.

        Args:
            candidate: Of the rung.
            rows: Training and validation rows.
            deadline: `time.monotonic()` after which nothing more is asked.
        """
        prompt, texts = self.prompt(candidate, rows.train), rows.validation.inputs["text"]

        def ask() -> dict[str, str]:
            try:
                self._asker(prompt, Asks(self.memory, self.emit, deadline)).labels(texts)
            except LlmError as error:
                return {"what": error.what, "fix": error.fix}
            return {}

        fault = self.fact(f"asked {candidate.key[:16]}", ask)
        if fault:
            return LlmError(fault["what"], fix=fault["fix"])
        logits = self._asker(prompt, Asks(self.memory)).logits(texts)
        unseen = np.full((len(rows.train), len(self.outputs)), np.nan, np.float32)
        return Scored(logits, unseen, 0.0)

    def prompt(self, candidate: Candidate, train: Examples) -> Prompt:
        """What the candidate ships and asks."""
        count = int(candidate.settings["examples"])
        return Prompt(
            url=self.llm.url,
            model=self.llm.model,
            key=self.llm.key,
            system=instructions(self.outputs, self.descriptions),
            examples=draw_examples(
                train.inputs["text"], train.target, self.outputs, count, candidate.seed
            ),
        )

    def writing(self, candidate: Candidate, train: Examples) -> Callable[[Path], None]:
        """Puts the prompt into an empty folder."""
        text = self.prompt(candidate, train).to_json()

        def write(to: Path) -> None:
            (to / FILE).write_text(text, "ascii")

        return write

    def _asker(self, prompt: Prompt, asks: Asks) -> Asker:
        return Asker(prompt, self.outputs, self._chat(), asks)

    def _chat(self) -> Chat:
        return Chat(self.llm.url, self.llm.model, self.llm.key)
