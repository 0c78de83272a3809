"""The HTTP application: routes over a runtime, a batcher and a recorder."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sartor.core.errors import RequestError, SettingError
from sartor.core.events import Emit, silent
from sartor.core.near import near_miss
from sartor.core.store import Store
from sartor.core.types import ANSWER_KEYS
from sartor.serve import page
from sartor.serve.adapters.figures import Personal
from sartor.serve.answering import About, Answering
from sartor.serve.auth import Gate
from sartor.serve.bodies import FeedbackBody, PredictBody, parse, said_text
from sartor.serve.chat import Chat
from sartor.serve.corrections import text_of
from sartor.serve.exchange import Exchange
from sartor.serve.figures import Figures
from sartor.serve.following import Follower, open_live
from sartor.serve.guard import Desk, Guard
from sartor.serve.hits import Hits
from sartor.serve.limits import Limiter
from sartor.serve.logs import RequestLog, taking
from sartor.serve.metrics import CONTENT_TYPE_LATEST, Metrics
from sartor.serve.oip import Protocol
from sartor.serve.records import Keeping, Recorder, Said
from sartor.serve.replies import JSON, refusal, reply
from sartor.serve.room import Busy, Room
from sartor.serve.routes import Endpoint, Routes
from sartor.serve.rows import example_row
from sartor.serve.runtime import Runtime
from sartor.serve.settings import ServeSettings
from sartor.serve.telling import tell
from sartor.serve.traces import open_traces
from sartor.serve.versions import Versions
from sartor.serve.wording import worded_answers

_RIGHT = {"new_label", "inputs", "text", *ANSWER_KEYS}
"""Of feedback, what says the right answer and the text: kept apart, checked."""


def create_app(
    settings: ServeSettings, runtime: Runtime | None = None, emit: Emit = silent
) -> Guard:
    """Verify and load the bundle, open the store, and build the application.

    Args:
        settings: What to serve, and how.
        runtime: The bundle where it is loaded already, by `open_live`.
        emit: Told when another bundle takes over.

    Raises:
        BundleError: If the bundle is damaged, or unreleased without `settings.unreleased`.
        WorkspaceError: If the store cannot be used.
        SettingError: If others than this machine could reach the server and no key exists.
    """
    runtime = runtime or open_live(settings)
    store = Store.open(settings.store) if settings.store else None
    versions = Versions(runtime, Figures(), settings.max_wait_s)
    follower = Follower(settings, versions, emit) if settings.deployment else None
    service = Service(settings, versions, store, follower)
    if not settings.loopback and not service.gate.has_key:
        service.close()
        raise SettingError(
            f"{settings.host} can be reached by others, and no API key exists.",
            fix="set SARTOR_API_KEY, make one with `sartor keys add NAME`, or listen on 127.0.0.1.",
        )
    router = Starlette(
        routes=service.routes.routes,
        lifespan=service.lifespan,
        exception_handlers={
            RequestError: service.refused,
            HTTPException: service.not_routed,
            Exception: service.failed,
        },
    )
    return Guard(router, service.desk())


class Service:
    """What the routes share."""

    def __init__(
        self,
        settings: ServeSettings,
        versions: Versions,
        store: Store | None,
        follower: Follower | None,
    ) -> None:
        self._settings, self._versions, self._store = settings, versions, store
        self._follower = follower
        keeping = Keeping(texts=settings.store_texts, days=settings.retention_days)
        self._recorder = Recorder(store, keeping) if store else None
        self._ready = False
        self.gate = Gate(settings, store)
        self.log = RequestLog(settings.log_format)
        self._traces = open_traces()
        recorder = self._recorder
        self.metrics = Metrics(
            waiting_s=lambda: versions.waiting_s,
            allowed_s=lambda: versions.allowed_s,
            unrecorded=lambda: recorder.unrecorded if recorder else 0,
        )
        self.metrics.add(versions.figures)
        self.metrics.add(Hits(lambda: [c for v in versions.lineup.versions for c in v.caches]))
        self.metrics.add(Personal(lambda: versions.lineup.live.runtime.adapted))
        self.metrics.counted(
            "sartor_log_lines_dropped",
            "Lines that the log's reader did not take in time.",
            lambda: self.log.dropped,
        )
        versions.watch(self.metrics.batched)
        self._answering = Answering(settings, versions, self._recorder, self.metrics)
        chat = Chat(self._answering)
        self.routes = Routes((*self._endpoints(), *chat.endpoints(), *self._protocol().endpoints()))

    def _protocol(self) -> Protocol:
        return Protocol(self._answering, lambda: self._ready)

    def _endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("POST", "/v1/predict", "predict", self.predict),
            Endpoint("POST", "/v1/feedback", "feedback", self.feedback),
            Endpoint("GET", "/v1/model", "predict", self.model),
            Endpoint("GET", "/healthz", "public", self.healthz),
            Endpoint("GET", "/readyz", "public", self.readyz),
            Endpoint("GET", "/metrics", "metrics", self.metrics_text),
            Endpoint("GET", "/openapi.json", "predict", self.openapi),
            Endpoint("GET", "/", "public", page.index),
            Endpoint("GET", "/static/page.css", "public", page.style),
            Endpoint("GET", "/static/page.js", "public", page.script),
            Endpoint("GET", "/static/conversation.js", "public", page.conversation),
            Endpoint("GET", "/static/learner.js", "public", page.learner),
        )

    def desk(self) -> Desk:
        """What stands before the router."""
        return Desk(
            gate=self.gate,
            limiter=Limiter(self._settings.rate),
            room=Room(self._settings.max_requests, self._settings.max_held_bytes),
            routes=self.routes,
            metrics=self.metrics,
            log=self.log,
            traces=self._traces,
            max_body=self._settings.max_body_bytes,
            check_room=self._versions.check_room,
        )

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncGenerator[None]:
        """Ready between the two halves; the second answers and writes what was accepted."""
        follower = self._follower
        with taking(self.log):
            following = asyncio.create_task(follower.follow()) if follower else None
            self._ready = True
            yield
            self._ready = False
            try:
                if follower and following:
                    await follower.stop(following)
                await self._versions.close()
            finally:  # whatever broke, what was answered is written
                await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Write what waits and close the store and the log."""
        if self._recorder:
            self._recorder.close()
        if self._store:
            self._store.close()
        self.log.close()
        if self._traces:
            self._traces.close()

    async def predict(self, request: Request) -> Response:
        body = parse(PredictBody, await request.body())
        about = About(body.user, body.segment, body.fallback)
        exchange = Exchange.of(request.scope)
        found = await self._answering.answer(exchange, body.inputs, about)
        outputs = worded_answers(found.outputs, exchange.language)
        said = {"outputs": outputs, "model": found.model, "request_id": found.request_id}
        response = reply(said | found.personally)
        response.background = found.background
        return response

    async def feedback(self, request: Request) -> Response:
        body = parse(FeedbackBody, await request.body())
        if self._recorder is None:
            raise RequestError(
                "This server keeps no feedback.", fix="start it with a store.", status=503
            )
        right = text_of(body, self._versions.lineup.live.runtime, self._versions.labels)
        tenant = Exchange.of(request.scope).tenant
        text = said_text(body, self._versions.lineup.live.runtime.bundle.manifest.inputs)
        plain = body.model_dump(exclude=_RIGHT)
        said = Said(**plain, label=right, text=text, tenant=tenant)
        number = await self._recorder.said(said)
        self.metrics.told()
        return reply({"id": number, "request_id": body.request_id, "row": body.row}, 201)

    async def model(self, request: Request) -> Response:
        keeps = {
            "feedback": self._recorder is not None,
            "texts_kept": self._settings.store_texts and self._recorder is not None,
            "personal": self._settings.adapters is not None,
        }
        return reply(tell(self._versions.lineup, self._follower) | keeps)

    async def healthz(self, request: Request) -> Response:
        return reply({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        ready = self._ready
        return reply({"status": "ready" if ready else "stopping"}, 200 if ready else 503)

    async def metrics_text(self, request: Request) -> Response:
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def openapi(self, request: Request) -> Response:
        # FastAPI takes a third of a second to import, and only the document needs it.
        from sartor.serve.openapi import Facts, document

        live, settings = self._versions.lineup.live.runtime, self._settings
        manifest = live.bundle.manifest
        facts = Facts(
            name=manifest.name,
            version=manifest.id,
            inputs=tuple(manifest.inputs.items()),
            example=json.dumps(example_row(manifest, "It broke after two days.")),
            labels=tuple(self._versions.labels),
            target=live.target,
            answer=json.dumps(live.schema()),
            max_rows=settings.max_rows,
            max_text_chars=settings.max_text_chars,
        )
        return Response(await asyncio.to_thread(document, facts), media_type=JSON)

    async def refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        exchange = Exchange.of(request.scope)
        waiting_s = self._versions.retry_after_s
        if isinstance(error, Busy):
            exchange.shed, waiting_s = error.where, error.retry_after_s
        away_s = exchange.retry_after_s(waiting_s)
        return refusal(error, request.url.path, away_s, exchange.language)

    async def not_routed(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known = [f"{one.method} {one.path}" for one in self.routes.endpoints]
        asked = f"{request.method} {request.url.path}"
        fault = RequestError(
            f"Nothing answers {asked[:200]}.",
            fix=near_miss(asked, known),
            status=error.status_code,
        )
        language = Exchange.of(request.scope).language
        response = refusal(fault, request.url.path, language=language)
        response.headers.update(dict(error.headers or {}))
        return response

    async def failed(self, request: Request, error: Exception) -> Response:
        """After this reply the error goes on to the server, whose log gets the traceback."""
        return refusal(
            RequestError(
                "The server failed to answer this request.",
                fix="try again; if it happens again, look into the server's log.",
                status=500,
            ),
            request.url.path,
            language=Exchange.of(request.scope).language,
        )
