"""Rows in, recorded answers out: what every route that predicts has in common."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.background import BackgroundTask

from sartor.core.errors import BundleError, RequestError, UnknownName
from sartor.core.tables import now
from sartor.serve.adapters.store import Loaded
from sartor.serve.caps import capped
from sartor.serve.exchange import Exchange
from sartor.serve.limits import charge
from sartor.serve.metrics import Metrics
from sartor.serve.records import Recorder, Served
from sartor.serve.runtime import Runtime
from sartor.serve.settings import ServeSettings
from sartor.serve.versions import Versions
from sartor.serve.waiting import Answer, Timing

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class About:
    """Whose rows they are."""

    user: str | None = None
    segment: str | None = None
    fallback: str | None = None
    """Who answers where the user has no adapter; None refuses."""


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
    personal: bool | None = None
    """Whether the user's adapter answered; None where no user can have one."""

    @property
    def personally(self) -> dict[str, bool]:
        """What a reply says of that."""
        return {} if self.personal is None else {"personal": self.personal}

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
            RequestError: 404 where the user has no adapter, 413 beyond the caps, 422 for a row that
                cannot be used, 429 beyond the rate, 500 for an adapter that cannot be used, 502
                when a language model that the bundle asks does not answer.
            Busy: When too much waits.
        """
        request_id, timing = exchange.own_id(), Timing()
        with self.versions.leased(about.user or request_id, only) as version:
            texts = capped(version.runtime, rows, self.settings)
            if exchange.bucket:
                charge(exchange.bucket, len(texts) - 1)
            own = await self._adapter(version.runtime, exchange.tenant, about)
            exchange.timing = timing
            outputs = await version.batcher.submit(texts, timing, [own] * len(texts) if own else ())
        self.metrics.queued(timing.begun - timing.asked)
        background = self.versions.copied(version, texts, outputs)
        personal = None if version.runtime.adapted is None else own is not None
        found = Answered(outputs, version.runtime, request_id, background, personal)
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

    async def _adapter(self, runtime: Runtime, tenant: str | None, about: About) -> Loaded | None:
        """The adapter that answers, if one does: the tenant's own user's, and no other's.

        Args:
            runtime: Who answers.
            tenant: Of the key.
            about: Names the user.

        Raises:
            RequestError: 404 where the user has none, 500 where it cannot be used.
        """
        if runtime.adapted is None or about.user is None:
            return None
        store = runtime.adapted.store
        try:
            found = store.hot(tenant, about.user)
            return found or await asyncio.to_thread(store.get, tenant, about.user)
        except UnknownName as error:
            if about.fallback is not None:
                return None
            fix = 'leave the user out, or add "fallback": "global", for the answer that all get.'
            raise RequestError(error.what, fix=fix, status=404) from None
        except BundleError as error:
            # What is wrong names folders and other users, which are none of a client's business.
            _log.error("an adapter in %s is refused", store.folder(tenant, about.user))
            raise RequestError(
                f"The adapter of the user {about.user!r:.200} cannot be used.",
                fix="make it anew with `sartor personalize`; the server's log says where it lies.",
                status=500,
            ) from error
