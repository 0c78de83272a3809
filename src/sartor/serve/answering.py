"""Rows in, recorded answers out: what every route that predicts has in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.background import BackgroundTask

from sartor.core.tables import now
from sartor.serve.batcher import Answer, Timing
from sartor.serve.caps import capped
from sartor.serve.exchange import Exchange
from sartor.serve.limits import charge
from sartor.serve.metrics import Metrics
from sartor.serve.records import Recorder, Served
from sartor.serve.runtime import Runtime
from sartor.serve.settings import ServeSettings
from sartor.serve.versions import Versions


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
        by: The bundle that answered.
        background: What is to be done after the reply, if anything.
    """

    outputs: list[Answer]
    by: Runtime
    request_id: str
    background: BackgroundTask | None

    @property
    def model(self) -> str:
        """Content id of the bundle."""
        return self.by.id


@dataclass(frozen=True, slots=True)
class Answering:
    """Checks the rows, has them computed, records and counts the answers."""

    settings: ServeSettings
    versions: Versions
    recorder: Recorder | None
    metrics: Metrics

    async def answer(
        self,
        exchange: Exchange,
        rows: Sequence[Mapping[str, str]],
        about: About,
        only: str | None = None,
    ) -> Answered:
        """
        Args:
            exchange: Of the request.
            rows: Input key to text.
            about: Whose they are.
            only: Id of the model that is to answer; None leaves it to the line-up.

        Raises:
            RequestError: 413 beyond the caps, 422 for a row that cannot be used, 429 beyond the
                rate, 502 when a language model that the bundle asks does not answer.
            Busy: When too much waits.
        """
        request_id, timing = exchange.own_id(), Timing()
        with self.versions.leased(about.user or request_id, only) as version:
            texts = capped(version.runtime, rows, self.settings)
            if exchange.bucket:
                charge(exchange.bucket, len(texts) - 1)
            exchange.timing = timing
            outputs = await version.batcher.submit(texts, timing)
        self.metrics.queued(timing.begun - timing.asked)
        background = self.versions.copied(version, texts, outputs)
        found = Answered(outputs, version.runtime, request_id, background)
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
                    brief=version.runtime.brief,
                    user=about.user,
                    segment=about.segment,
                    tenant=exchange.tenant,
                )
            )
        self.metrics.answered(
            len(outputs), sum(found.by.brief(one).label is None for one in outputs)
        )
        return found
