"""The HTTP application: routes over a runtime, a batcher and a recorder."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sartor.core.errors import RequestError, SettingError
from sartor.core.events import Emit, silent
from sartor.core.near import near_miss
from sartor.core.store import Store
from sartor.core.tables import now
from sartor.serve import page
from sartor.serve.auth import Gate
from sartor.serve.bodies import FeedbackBody, PredictBody, parse
from sartor.serve.figures import Figures
from sartor.serve.following import Follower, open_live
from sartor.serve.guard import Guard
from sartor.serve.hits import Hits
from sartor.serve.metrics import CONTENT_TYPE_LATEST, Metrics
from sartor.serve.records import Keeping, Recorder, Said, Served
from sartor.serve.replies import JSON, refusal, reply
from sartor.serve.runtime import Runtime
from sartor.serve.settings import ServeSettings
from sartor.serve.telling import tell
from sartor.serve.versions import Versions


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
            fix="set SARTOR_API_KEY, or listen on 127.0.0.1.",
        )
    router = Starlette(
        routes=[Route(path, handler, methods=[method]) for method, path, handler in service.table],
        lifespan=service.lifespan,
        exception_handlers={
            RequestError: service.refused,
            HTTPException: service.not_routed,
            Exception: service.failed,
        },
    )
    return Guard(
        router,
        service.gate,
        service.metrics,
        routes=frozenset(path for _, path, _ in service.table),
        max_body=settings.max_body_bytes,
    )


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
        recorder = self._recorder
        self.metrics = Metrics(
            waiting_s=lambda: versions.waiting_s,
            unrecorded=lambda: recorder.unrecorded if recorder else 0,
        )
        self.metrics.add(versions.figures)
        self.metrics.add(Hits(lambda: [v.runtime.cache for v in versions.lineup.versions]))
        self.table = (
            ("POST", "/v1/predict", self.predict),
            ("POST", "/v1/feedback", self.feedback),
            ("GET", "/v1/model", self.model),
            ("GET", "/healthz", self.healthz),
            ("GET", "/readyz", self.readyz),
            ("GET", "/metrics", self.metrics_text),
            ("GET", "/openapi.json", self.openapi),
            ("GET", "/", page.index),
            ("GET", "/static/page.css", page.style),
            ("GET", "/static/page.js", page.script),
        )

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncGenerator[None]:
        """Ready between the two halves; the second answers and writes what was accepted."""
        follower = self._follower
        following = asyncio.create_task(follower.follow()) if follower else None
        self._ready = True
        yield
        self._ready = False
        if follower and following:
            await follower.stop(following)
        await self._versions.close()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Write what waits and close the store."""
        if self._recorder:
            self._recorder.close()
        if self._store:
            self._store.close()

    async def predict(self, request: Request) -> Response:
        body = parse(PredictBody, await request.body())
        request_id = secrets.token_hex(16)
        with self._versions.leased(body.user or request_id) as version:
            texts = self._texts(version.runtime, body.inputs)
            answers = await version.batcher.submit(texts)
        if self._recorder:
            self._recorder.served(
                Served(
                    request_id=request_id,
                    bundle=version.id,
                    time=now(),
                    texts=texts if self._settings.store_texts else (),
                    answers=answers,
                    user=body.user,
                    segment=body.segment,
                )
            )
        self.metrics.answered(len(answers), sum(found["label"] is None for found in answers))
        response = reply({"outputs": answers, "model": version.id, "request_id": request_id})
        response.background = self._versions.copied(version, texts, answers)
        return response

    async def feedback(self, request: Request) -> Response:
        body = parse(FeedbackBody, await request.body())
        if self._recorder is None:
            raise RequestError(
                "This server keeps no feedback.", fix="start it with a store.", status=503
            )
        labels = self._versions.labels
        if body.label not in labels and not body.new_label:
            raise RequestError(
                f"The model has no label {body.label!r:.200}.",
                fix=f'{near_miss(body.label, labels)} To propose a new one, add "new_label": true.',
                status=422,
            )
        said = Said(**body.model_dump(exclude={"new_label"}))
        number = await self._recorder.said(said)
        return reply({"id": number, "request_id": body.request_id, "row": body.row}, 201)

    async def model(self, request: Request) -> Response:
        keeps = {
            "feedback": self._recorder is not None,
            "texts_kept": self._settings.store_texts and self._recorder is not None,
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
        from sartor.serve.openapi import document

        return Response(await asyncio.to_thread(document), media_type=JSON)

    async def refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return refusal(error, self._versions.retry_after_s)

    async def not_routed(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known = [f"{method} {path}" for method, path, _ in self.table]
        asked = f"{request.method} {request.url.path}"
        fault = RequestError(
            f"Nothing answers {asked[:200]}.",
            fix=near_miss(asked, known),
            status=error.status_code,
        )
        response = refusal(fault)
        response.headers.update(dict(error.headers or {}))
        return response

    async def failed(self, request: Request, error: Exception) -> Response:
        """After this reply the error goes on to the server, whose log gets the traceback."""
        return refusal(
            RequestError(
                "The server failed to answer this request.",
                fix="try again; if it happens again, look into the server's log.",
                status=500,
            )
        )

    def _texts(self, runtime: Runtime, rows: list[dict[str, str]]) -> list[str]:
        most, longest = self._settings.max_rows, self._settings.max_text_chars
        if len(rows) > most:
            raise RequestError(
                f"{len(rows)} rows in one request; at most {most} are taken.",
                fix="send them in several requests.",
                status=413,
            )
        texts = runtime.texts(rows)
        for row, text in enumerate(texts):
            if len(text) > longest:
                raise RequestError(
                    f"Row {row} has {len(text):,} characters; at most {longest:,} are taken.",
                    fix="shorten the text.",
                    status=413,
                )
        return texts
