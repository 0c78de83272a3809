"""The Open Inference Protocol v2 over the same model, records and caps as our own API.

One input for each of the model's, BYTES [n] or [n, 1], by name; FP64 for a column of numbers, where
null is one that is missing. Two outputs: `label`, BYTES [n], empty where the model abstains and a
JSON list where a text has several or its parts have labels, and `probabilities`, FP32 [n, labels].
In its place, parts of a text have `confidence`, FP32 [n], and numbers `values`, FP64 [n, 3]: the
number and the ends of its interval, 0 where there is none. The model's version is the bundle's
content id.

https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

import sartor
from sartor.core.errors import RequestError
from sartor.core.histories import left_out
from sartor.core.near import near_miss
from sartor.serve.answering import About, Answered, Answering
from sartor.serve.bodies import parse
from sartor.serve.exchange import Exchange
from sartor.serve.kinds import ENDS, offered
from sartor.serve.oip_bodies import InferenceRequest, RequestInput
from sartor.serve.replies import reply
from sartor.serve.routes import Endpoint
from sartor.serve.runtime import Runtime, asks_llm
from sartor.serve.versions import Lineup
from sartor.serve.waiting import Answer

_MODEL = "/v2/models/{name}"
_VERSION = "/v2/models/{name}/versions/{version}"
_TEXTS = "BYTES"
_MOST_ELEMENTS = 500_000
"""Of a tensor that is answered: it is built while nobody else is served, and is zeros but for the
listed ones where there are so many documents or items."""
_FIGURES = ("FP64", "FP32", "INT64", "INT32")


@dataclass(frozen=True, slots=True)
class Protocol:
    """The routes under /v2."""

    answering: Answering
    ready: Callable[[], bool]

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The routes, those of a model with and without a version."""
        of_model = [
            one
            for base in (_MODEL, _VERSION)
            for one in (
                Endpoint("GET", base, "predict", self.model),
                Endpoint("GET", f"{base}/ready", "predict", self.model_ready),
                Endpoint("POST", f"{base}/infer", "predict", self.infer),
            )
        ]
        return (
            Endpoint("GET", "/v2", "predict", self.server),
            Endpoint("GET", "/v2/health/live", "public", self.live),
            Endpoint("GET", "/v2/health/ready", "public", self.server_ready),
            *of_model,
        )

    async def server(self, request: Request) -> Response:
        return reply({"name": "sartor", "version": sartor.__version__, "extensions": []})

    async def live(self, request: Request) -> Response:
        return reply({"live": True})

    async def server_ready(self, request: Request) -> Response:
        ready = self.ready()
        return reply({"live": True, "ready": ready}, 200 if ready else 503)

    async def model_ready(self, request: Request) -> Response:
        runtime = self._named(request)
        ready = self.ready()
        return reply({"name": runtime.name, "ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        runtime = self._named(request)
        content = {
            "name": runtime.name,
            "versions": [version.id for version in self._lineup.versions],
            "platform": "llm" if asks_llm(runtime.bundle) else "onnxruntime",
            "inputs": [
                {"name": name, "datatype": datatypes(kind)[0], "shape": [-1]}
                for name, kind in runtime.bundle.manifest.inputs.items()
            ],
            "outputs": [_OUTPUTS[name].told(runtime) for name in offered(runtime.target)],
            "labels": list(runtime.labels or ENDS),
        }
        return reply(content)

    async def infer(self, request: Request) -> Response:
        runtime = self._named(request)
        body = parse(InferenceRequest, await request.body())
        wanted = _wanted(body, offered(runtime.target))
        rows = _rows(body.inputs, runtime.bundle.manifest.inputs)
        _check_size(wanted, len(rows), runtime)
        said = body.parameters
        about = About(said.user, said.segment, said.fallback) if said else About()
        only = request.path_params.get("version")
        found = await self.answering.answer(Exchange.of(request.scope), rows, about, only)
        response = reply(_content(body, found, runtime.name, wanted))
        response.background = found.background
        return response

    @property
    def _lineup(self) -> Lineup:
        return self.answering.versions.lineup

    def _named(self, request: Request) -> Runtime:
        """The bundle that the path names: by its version, else the live one.

        Raises:
            RequestError: 404 unless the path names the model that is served, and its version.
        """
        runtime = self._lineup.live.runtime
        name, version = request.path_params["name"], request.path_params.get("version")
        if name != runtime.name:
            raise RequestError(
                f"No model is called {name[:200]!r}.",
                fix=near_miss(name[:200], [runtime.name]),
                status=404,
            )
        known = {one.id: one.runtime for one in self._lineup.versions}
        if version is not None and version not in known:
            raise RequestError(
                f"The model {name!r} has no version {version[:200]!r}.",
                fix=f"ask for {runtime.id}, or leave /versions out.",
                status=404,
            )
        return runtime if version is None else known[version]


def _content(
    body: InferenceRequest, found: Answered, name: str, wanted: Sequence[str]
) -> dict[str, Any]:
    return {
        "model_name": name,
        "model_version": found.model,
        "id": found.request_id if body.id is None else body.id,
        "parameters": {"request_id": found.request_id, **found.personally},
        "outputs": [
            _OUTPUTS[output].told(found.by, found.outputs)
            | {"data": _OUTPUTS[output].data(found.outputs, found.by)}
            for output in wanted
        ],
    }


def _label(answers: Sequence[Answer], by: Runtime) -> list[Any]:
    # The protocol knows no null: an empty text stands for an abstention.
    return [by.brief(answer).label or "" for answer in answers]


def _probabilities(answers: Sequence[Answer], by: Runtime) -> list[Any]:
    # Documents that an answer does not list have a score of next to nothing.
    labels = by.labels
    stated = (
        answer.get("probabilities") or {d["id"]: d["score"] for d in answer["documents"]}
        for answer in answers
    )
    return [found.get(label, 0.0) for found in stated for label in labels]


def _ends(answers: Sequence[Answer], by: Runtime) -> list[Any]:
    return [answer[end] or 0.0 for answer in answers for end in ENDS]


def _confidence(answers: Sequence[Answer], by: Runtime) -> list[Any]:
    return [by.brief(answer).confidence for answer in answers]


@dataclass(frozen=True, slots=True)
class _Output:
    """A tensor that is answered.

    Args:
        name: Its name.
        datatype: Of its elements.
        data: Answers to its elements, flat.
        columns: Elements of a row of it; None where a row is one element.
    """

    name: str
    datatype: str
    data: Callable[[Sequence[Answer], Runtime], list[Any]]
    columns: Callable[[Runtime], int] | None = None

    def told(self, runtime: Runtime, answers: Sequence[Answer] | None = None) -> dict[str, Any]:
        """Name, shape and datatype; of any number of rows where there are no answers."""
        rows = -1 if answers is None else len(answers)
        shape = [rows] if self.columns is None else [rows, self.columns(runtime)]
        return {"name": self.name, "shape": shape, "datatype": self.datatype}


_OUTPUTS = {
    one.name: one
    for one in (
        _Output("label", _TEXTS, _label),
        _Output("probabilities", "FP32", _probabilities, lambda by: len(by.labels)),
        _Output("values", "FP64", _ends, lambda by: len(ENDS)),
        _Output("confidence", "FP32", _confidence),
    )
}


def _wanted(body: InferenceRequest, known: Sequence[str]) -> list[str]:
    """Names of the outputs to send, among those there are."""
    asked = [output.name for output in body.outputs or ()]
    for index, name in enumerate(asked):
        if name not in known:
            raise _wrong(
                f"outputs.{index}: the model has no output {name!r:.200}.",
                near_miss(name[:200], known),
            )
        if name in asked[:index]:
            raise _wrong(f"outputs.{index}: {name!r} is asked for twice.", "name it once.")
    return asked or list(known)


def _check_size(wanted: Sequence[str], rows: int, runtime: Runtime) -> None:
    """
    Raises:
        RequestError: 413 where a tensor would have too many elements.
    """
    for name in wanted:
        columns = _OUTPUTS[name].columns
        if columns is not None and rows * columns(runtime) > _MOST_ELEMENTS:
            raise RequestError(
                f"outputs: {name!r} of {rows:,} rows has {rows * columns(runtime):,} elements;"
                f" at most {_MOST_ELEMENTS:,} are sent.",
                fix='send fewer rows, or ask for the others: "outputs": [{"name": "label"}].',
                status=413,
            )


def datatypes(kind: str) -> tuple[str, ...]:
    """Those that a tensor of an input may have, the first is told.

    Args:
        kind: What the input holds, as the manifest says it.
    """
    return _FIGURES if kind == "number" else (_TEXTS,)


def _rows(tensors: Sequence[RequestInput], keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows of tensors that are the model's inputs, each once, of one length."""
    columns: dict[str, Sequence[str | float | None]] = {}
    for index, tensor in enumerate(tensors):
        if tensor.name not in keys:
            raise _wrong(
                f"The model has no input {tensor.name!r:.200}.", near_miss(tensor.name[:200], keys)
            )
        if tensor.name in columns:
            raise _wrong(f"inputs: {tensor.name!r} is sent twice.", "send it once.")
        columns[tensor.name] = _values(tensor, index, keys[tensor.name])
    free = left_out(keys)
    keys = {key: kind for key, kind in keys.items() if key in columns or key not in free}
    if lacking := [key for key in keys if key not in columns]:
        raise _wrong(
            f"inputs: {lacking[0]!r} is missing.", f"send a tensor for each of {', '.join(keys)}."
        )
    counts = {key: len(columns[key]) for key in keys}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{key} {count}" for key, count in counts.items())
        raise _wrong(
            f"inputs: the numbers of rows differ ({shown}).", "send one text a row for each."
        )
    return [
        dict(zip(keys, row, strict=True))
        for row in zip(*(columns[key] for key in keys), strict=True)
    ]


def _values(tensor: RequestInput, place: int, kind: str) -> Sequence[str | float | None]:
    """The rows of an input whose datatype and shape are right."""
    key, shape = tensor.name, tensor.shape
    one, form = ("number", "numbers") if kind == "number" else ("text", "texts as JSON strings")
    if tensor.datatype not in datatypes(kind):
        raise _wrong(
            f"The input {key!r} has the datatype {tensor.datatype!r:.80}.",
            f"send {' or '.join(datatypes(kind))}: {form}.",
        )
    if len(shape) == 2 and shape[1] != 1:
        raise _wrong(
            f"The input {key!r} has the shape {shape}; one {one} a row is taken.",
            f"send the shape [{shape[0]}] or [{shape[0]}, 1].",
        )
    values: list[str | float | None] = []
    for index, row in enumerate(tensor.data):
        if isinstance(row, list):
            if len(shape) != 2:
                raise _wrong(
                    f"Row {index} of the data is a list of its own; the shape is {shape}.",
                    f"send the texts as one flat list, or the shape [{shape[0]}, 1].",
                )
            row = row[0]
        if isinstance(row, str) == (kind == "number"):
            raise _wrong(f"inputs.{place}.data: row {index} is {row!r:.80}.", f"send {form}.")
        values.append(row)
    if len(values) != shape[0]:
        raise _wrong(
            f"The input {key!r} has the shape {shape} and {len(values)} {one}s.",
            f"send as many {one}s as the shape says.",
        )
    return values


def _wrong(what: str, fix: str) -> RequestError:
    return RequestError(what, fix=fix)
