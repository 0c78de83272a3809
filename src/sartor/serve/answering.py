"""Rows in, recorded answers out: what every route that predicts has in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sartor.core.errors import RequestError
from sartor.core.tables import now
from sartor.serve.batcher import Answer, Batcher, Timing
from sartor.serve.exchange import Exchange
from sartor.serve.limits import charge
from sartor.serve.metrics import Metrics
from sartor.serve.records import Recorder, Served
from sartor.serve.runtime import Runtime
from sartor.serve.settings import ServeSettings


@dataclass(frozen=True, slots=True)
class About:
    """Whose rows they are."""

    user: str | None = None
    segment: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers, and the id under which they were recorded.

    Args:
        outputs: One a row, in order.
        model: Content id of the bundle.
    """

    outputs: list[Answer]
    model: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Answering:
    """Checks the rows, has them computed, records and counts the answers."""

    settings: ServeSettings
    runtime: Runtime
    batcher: Batcher
    recorder: Recorder | None
    metrics: Metrics

    async def answer(
        self, exchange: Exchange, rows: Sequence[Mapping[str, str]], about: About
    ) -> Answered:
        """
        Raises:
            RequestError: 413 beyond the caps, 422 for a row that cannot be used, 429 beyond the
                rate, 502 when a language model that the bundle asks does not answer.
            Busy: When too much waits.
        """
        texts = self._texts(rows)
        if exchange.bucket:
            charge(exchange.bucket, len(texts) - 1)
        timing = exchange.timing = Timing()
        outputs = await self.batcher.submit(texts, timing)
        self.metrics.queued(timing.begun - timing.asked)
        found = Answered(outputs, self.runtime.id, exchange.own_id())
        exchange.rows, exchange.model = len(outputs), found.model
        exchange.answer = found.request_id
        if self.recorder:
            self.recorder.served(
                Served(
                    request_id=found.request_id,
                    bundle=found.model,
                    time=now(),
                    texts=texts if self.settings.store_texts else (),
                    answers=outputs,
                    user=about.user,
                    segment=about.segment,
                    tenant=exchange.tenant,
                )
            )
        self.metrics.answered(len(outputs), sum(one["label"] is None for one in outputs))
        return found

    def _texts(self, rows: Sequence[Mapping[str, str]]) -> list[str]:
        most, longest = self.settings.max_rows, self.settings.max_text_chars
        if len(rows) > most:
            raise RequestError(
                f"{len(rows)} rows in one request; at most {most} are taken.",
                fix="send them in several requests.",
                status=413,
            )
        texts = self.runtime.texts(rows)
        for row, text in enumerate(texts):
            if len(text) > longest:
                raise RequestError(
                    f"Row {row} has {len(text):,} characters; at most {longest:,} are taken.",
                    fix="shorten the text.",
                    status=413,
                )
        return texts
