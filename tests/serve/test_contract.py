"""Whatever is sent, the server answers as its own OpenAPI document says, and never with a fault.

The bodies are drawn from the document's request schemas, then spoilt; the replies are held against
its response schemas. Keys that a response schema does not name count as violations.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serve.conftest import LABELS, Running, Serving
from tests.serve.test_auth import PUBLIC

KEY = "0123456789abcdef0123456789abcdef"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
UNDERSTOOD = {
    *("$ref", "type", "properties", "required", "additionalProperties", "items", "anyOf"),
    *("minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "enum", "const"),
    *("exclusiveMinimum", "exclusiveMaximum", "pattern", "format"),
    *("title", "description", "default", "examples"),
}
TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    ),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def kinds_of(schema: dict[str, Any]) -> list[str]:
    """The types that a schema allows."""
    found = schema["type"]
    return found if isinstance(found, list) else [found]


fuzz = settings(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Document:
    """An OpenAPI document: what may be sent, and what may come back."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.operations = {
            (method.upper(), path): operation
            for path, methods in content["paths"].items()
            for method, operation in methods.items()
        }

    def request(self, method: str, path: str) -> dict[str, Any]:
        body = self.operations[method, path]["requestBody"]
        return self.resolved(body["content"]["application/json"]["schema"])

    def response(self, method: str, path: str, status: int) -> dict[str, Any]:
        """The schema of a reply, by the route's template."""
        responses = self.operations[method, path]["responses"]
        assert str(status) in responses, f"{method} {path} answers {status}, undocumented"
        return self.resolved(responses[str(status)]["content"]["application/json"]["schema"])

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        assert set(schema) <= UNDERSTOOD, f"this test does not understand {schema}"
        if "$ref" not in schema:
            return schema
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return self.resolved(self.content["components"]["schemas"][name])

    def faults(self, schema: dict[str, Any], value: Any, place: str = "") -> Iterator[str]:
        """Where the value departs from the schema; unnamed keys depart from it too."""
        schema = self.resolved(schema)
        if "anyOf" in schema:
            if all(any(self.faults(one, value, place)) for one in schema["anyOf"]):
                yield f"{place}: {value!r:.80} fits no alternative"
            if "properties" not in schema:
                return
        if "type" in schema and not any(TYPES[kind](value) for kind in kinds_of(schema)):
            yield f"{place}: {value!r:.80} is not of type {schema['type']}"
            return
        size = len(value) if isinstance(value, str | list) else value
        for bound, wrong in (
            ("minLength", lambda limit: size < limit),
            ("minItems", lambda limit: size < limit),
            ("minimum", lambda limit: size < limit),
            ("maxLength", lambda limit: size > limit),
            ("maxItems", lambda limit: size > limit),
            ("maximum", lambda limit: size > limit),
            ("exclusiveMinimum", lambda limit: size <= limit),
            ("exclusiveMaximum", lambda limit: size >= limit),
            ("pattern", lambda form: isinstance(value, str) and not re.search(form, value)),
            ("enum", lambda allowed: value not in allowed),
            ("const", lambda only: value != only),
        ):
            about = value is not None and not isinstance(value, bool)
            if bound in schema and (about or bound in ("enum", "const")) and wrong(schema[bound]):
                yield f"{place}: {value!r:.80} breaks {bound} {schema[bound]}"
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from self.faults(schema.get("items", {}), item, f"{place}.{index}")
        if isinstance(value, dict):
            yield from self._object_faults(schema, value, place)

    def _object_faults(
        self, schema: dict[str, Any], value: dict[str, Any], place: str
    ) -> Iterator[str]:
        # An alternative names some of the properties; the others are the whole schema's affair.
        others = schema.get("additionalProperties", "type" not in schema)
        known = schema.get("properties", {})
        for name in set(schema.get("required", ())) - set(value):
            yield f"{place}: {name} is missing"
        for name, inner in value.items():
            if name in known or isinstance(others, dict):
                yield from self.faults(known.get(name, others), inner, f"{place}.{name}")
            elif others is False:
                yield f"{place}: {name!r} is not in the document"

    def fitting(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        """Values that the schema allows."""
        schema = self.resolved(schema)
        if "anyOf" in schema and "properties" in schema:
            base = self.fitting({k: v for k, v in schema.items() if k != "anyOf"})
            return st.one_of([self._also(base, one) for one in schema["anyOf"]])
        if "anyOf" in schema:
            return st.one_of([self.fitting(one) for one in schema["anyOf"]])
        if "const" in schema or "enum" in schema:
            return st.sampled_from(schema.get("enum") or [schema["const"]])
        if len(kinds := kinds_of(schema)) > 1:
            return st.one_of([self.fitting({**schema, "type": kind}) for kind in kinds])
        return self._of_kind(kinds[0], schema)

    def _of_kind(self, kind: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        if kind == "object" and "properties" in schema:
            needed = set(schema.get("required", ()))
            fields = {name: self.fitting(inner) for name, inner in schema["properties"].items()}
            return st.fixed_dictionaries(
                {name: field for name, field in fields.items() if name in needed},
                optional={name: field for name, field in fields.items() if name not in needed},
            )
        if kind == "array":
            least = schema.get("minItems", 0)
            most = max(least, min(schema.get("maxItems", 3), 3))
            return st.lists(self.fitting(schema["items"]), min_size=least, max_size=most)
        if kind == "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        if kind == "number":
            low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
            ends = {"exclude_min": low is not None, "exclude_max": high is not None}
            return st.floats(low, high, allow_nan=False, allow_infinity=False, **ends)
        if schema.get("format") == "date":
            return st.dates().map(str)
        if kind == "string":
            most = min(schema.get("maxLength", 40), 40)
            texts = st.text(min_size=schema.get("minLength", 0), max_size=most)
            return texts.filter(lambda text: re.search(schema.get("pattern", ""), text))
        return {"boolean": st.booleans(), "null": st.none()}[kind]

    def _also(
        self, base: st.SearchStrategy[Any], alternative: dict[str, Any]
    ) -> st.SearchStrategy[Any]:
        """What fits both: the alternative narrows some of the properties."""
        more = {k: self.fitting(inner) for k, inner in alternative["properties"].items()}
        return st.tuples(base, st.fixed_dictionaries(more)).map(lambda two: two[0] | two[1])


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def spoilt(draw: st.DrawFn, good: st.SearchStrategy[Any]) -> Any:
    """A body with something changed, added or taken away somewhere."""
    body = draw(good)
    target = body
    while isinstance(target, dict | list) and target and draw(st.booleans()):
        keys = sorted(target) if isinstance(target, dict) else range(len(target))
        key = draw(st.sampled_from(list(keys)))
        if not isinstance(target[key], dict | list) or draw(st.booleans()):
            target[key] = draw(JUNK)
            return body
        target = target[key]
    if not isinstance(target, dict):
        return draw(JUNK)
    if target and draw(st.booleans()):
        del target[draw(st.sampled_from(sorted(target)))]
    else:
        target[draw(st.text(max_size=8))] = draw(JUNK)
    return body


@pytest.fixture
def document(running: Running) -> Document:
    return Document(running.client.get("/openapi.json").json())


def check(document: Document, method: str, path: str, reply: httpx.Response) -> None:
    """Not a server's fault, and as the document says."""
    assert reply.status_code < 500, reply.text
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    schema = document.response(method, path, reply.status_code)
    assert not list(document.faults(schema, reply.json()))


INFER = "/v2/models/{name}/infer"
POSTS = ("/v1/predict", "/v1/feedback", INFER)


def url(running: Running, path: str) -> str:
    """A template's path at the bundle that is served."""
    if "{" not in path:
        return path
    model = running.client.get("/v1/model").json()
    return path.format(name=model["name"], version=model["model"])


def right(path: str, label: str, request_id: str) -> dict[str, Any]:
    """A body that is answered."""
    if path == "/v1/predict":
        return {"inputs": [{"text": label}]}
    if path == "/v1/feedback":
        return {"request_id": request_id, "label": label, "row": 0}
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [label]}
    return {"inputs": [tensor], "outputs": None}


@pytest.mark.parametrize("path", POSTS)
def test_a_body_that_fits_the_document_is_answered_as_it_says(
    running: Running, document: Document, path: str
):
    seen: set[int] = set()
    schema = document.request("POST", path)
    known, place = running.predict("money")["request_id"], url(running, path)

    @fuzz
    @given(document.fitting(schema), st.sampled_from(LABELS), st.booleans())
    def answered(body: dict[str, Any], label: str, real: bool) -> None:
        if real:  # Chance alone hits no request id and no input key often enough.
            body = body | right(path, label, known)
        assert not list(document.faults(schema, body)), "the generator is wrong"
        reply = running.client.post(place, json=body)
        check(document, "POST", path, reply)
        seen.add(reply.status_code)

    answered()
    assert seen & {200, 201}, "nothing was accepted; the test would be vacuous"
    # What no schema can say: a shape that fits its data, an id that was given out.
    assert seen & {400, 404} or path == "/v1/predict", "nothing was refused"
    assert path != "/v1/predict" or seen == {200}, "a body that fits was refused"


@pytest.mark.parametrize("path", POSTS)
def test_a_body_that_does_not_fit_the_document_is_refused_and_not_stumbled_over(
    running: Running, document: Document, path: str
):
    schema = document.request("POST", path)
    misfits, place = 0, url(running, path)

    @fuzz
    @given(spoilt(document.fitting(schema)))
    def refused(body: Any) -> None:
        nonlocal misfits
        reply = running.client.post(place, content=json.dumps(body))
        check(document, "POST", path, reply)
        if any(document.faults(schema, body)):
            misfits += 1
            assert reply.status_code in (400, 422), body

    refused()
    assert misfits > 20, "hardly a body was spoilt; the test would be vacuous"


@pytest.mark.parametrize("path", POSTS)
def test_no_key_takes_a_value_that_only_a_lax_reader_would_convert(
    running: Running, document: Document, path: str
):
    schema = document.request("POST", path)
    good, place = right(path, "other", running.predict("money")["request_id"]), url(running, path)
    assert running.client.post(place, json=good).is_success
    for name in schema["properties"]:
        for value in ("0", "true", "", 1, 1.5, True, None, [], {}):
            body = good | {name: value}
            reply = running.client.post(place, json=body)
            check(document, "POST", path, reply)
            if any(document.faults(schema, body)):
                assert reply.status_code == (400 if path == INFER else 422), body


@pytest.mark.parametrize("path", POSTS)
def test_bytes_that_are_no_json_are_refused(running: Running, document: Document, path: str):
    nested = st.integers(1, 200_000).map(lambda deep: b"[" * deep)
    cut = st.integers(0, 40).map(lambda end: b'{"inputs": [{"text": "money \xe4\xb8\xad"}]}'[:end])
    kinds = st.sampled_from(["application/json", "text/plain", "multipart/form-data", ""])
    place = url(running, path)

    @fuzz
    @given(st.binary(max_size=200) | nested | cut, kinds)
    def refused(raw: bytes, kind: str) -> None:
        reply = running.client.post(place, content=raw, headers={"content-type": kind})
        check(document, "POST", path, reply)

    refused()


def test_every_documented_read_answers_as_it_says(running: Running, document: Document):
    reads = [path for method, path in document.operations if method == "GET"]
    assert len(reads) >= 3
    for path in reads:
        reply = running.client.get(url(running, path))
        check(document, "GET", path, reply)
        assert reply.status_code == 200


def test_any_method_path_and_query_gets_a_well_formed_reply(running: Running, document: Document):
    schemas = document.content["components"]["schemas"]
    known = [*document.content["paths"], "/metrics", "/", "/static/page.js"]
    paths = st.sampled_from(known) | st.text(max_size=30).map(lambda text: "/" + text)

    @fuzz
    @given(st.sampled_from(METHODS), paths, st.text(max_size=20), st.binary(max_size=50))
    def answered(method: str, path: str, query: str, body: bytes) -> None:
        place = f"{running.url}{quote(path)}?{urlencode({'q': query})}"
        reply = running.client.request(method, place, content=body)
        assert reply.status_code < 500, reply.text
        fault = schemas["ProtocolError" if path.startswith("/v2") else "ErrorReply"]
        if reply.status_code >= 400 and method != "HEAD":
            assert not list(document.faults(fault, reply.json()))

    answered()


def test_without_the_key_nothing_that_is_not_public_answers(serving: Serving):
    with serving(key=KEY) as running:
        opened = running.client.get("/openapi.json", headers={"authorization": f"Bearer {KEY}"})
        document = Document(opened.json())
        known = [*document.content["paths"], "/metrics", "/openapi.json"]
        paths = st.sampled_from(known) | st.text(max_size=30).map(lambda text: "/" + text)
        tokens = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)
        schemes = st.sampled_from(["Bearer ", "bearer ", "Basic ", "", "Bearer Bearer "])
        tried: set[str] = set()

        @settings(fuzz, max_examples=200)
        @given(st.sampled_from(METHODS), paths, schemes, tokens | st.just(KEY[:-1]))
        def refused(method: str, path: str, scheme: str, token: str) -> None:
            place = running.url + quote(path)
            headers = {"authorization": (scheme + token).strip()}
            reply = running.client.request(method, place, headers=headers, content=b"{}")
            if path in PUBLIC:
                return
            tried.add(path)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"

        refused()
        documented = set(document.content["paths"]) - PUBLIC
        assert documented <= tried, "a route was never tried; the test would be vacuous"
