"""Whatever is sent, the server answers as its own OpenAPI document says, and never with a fault.

The bodies are drawn from the document's request schemas, then spoilt; the replies are held against
its response schemas. Keys that a response schema does not name count as violations.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sartor.serve import auth
from tests.serve.conftest import LABELS, Running, Serving

KEY = "0123456789abcdef0123456789abcdef"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
UNDERSTOOD = {
    *("$ref", "type", "properties", "required", "additionalProperties", "items", "anyOf"),
    *("minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "enum", "const"),
    *("title", "description", "default", "examples"),
}
TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}

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
            return
        if "type" in schema and not TYPES[schema["type"]](value):
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
            ("enum", lambda allowed: value not in allowed),
            ("const", lambda only: value != only),
        ):
            if bound in schema and wrong(schema[bound]):
                yield f"{place}: {value!r:.80} breaks {bound} {schema[bound]}"
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from self.faults(schema.get("items", {}), item, f"{place}.{index}")
        if isinstance(value, dict):
            yield from self._object_faults(schema, value, place)

    def _object_faults(
        self, schema: dict[str, Any], value: dict[str, Any], place: str
    ) -> Iterator[str]:
        known, others = schema.get("properties", {}), schema.get("additionalProperties", False)
        for name in set(schema.get("required", ())) - set(value):
            yield f"{place}: {name} is missing"
        for name, inner in value.items():
            if name in known or isinstance(others, dict):
                yield from self.faults(known.get(name, others), inner, f"{place}.{name}")
            elif not others:
                yield f"{place}: {name!r} is not in the document"

    def fitting(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        """Values that the schema allows."""
        schema = self.resolved(schema)
        if "anyOf" in schema:
            return st.one_of([self.fitting(one) for one in schema["anyOf"]])
        kind = schema["type"]
        if kind == "object" and "properties" in schema:
            needed = set(schema.get("required", ()))
            fields = {name: self.fitting(inner) for name, inner in schema["properties"].items()}
            return st.fixed_dictionaries(
                {name: field for name, field in fields.items() if name in needed},
                optional={name: field for name, field in fields.items() if name not in needed},
            )
        if kind == "object":
            names = st.sampled_from(["text", "Text", ""])
            return st.dictionaries(names, self.fitting(schema["additionalProperties"]), max_size=2)
        if kind == "array":
            least = schema.get("minItems", 0)
            return st.lists(self.fitting(schema["items"]), min_size=least, max_size=3)
        if kind == "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        if kind == "string":
            most = min(schema.get("maxLength", 40), 40)
            return st.text(min_size=schema.get("minLength", 0), max_size=most)
        return {"boolean": st.booleans(), "null": st.none()}[kind]


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
    schema = document.response(method, path, reply.status_code)
    assert not list(document.faults(schema, reply.json()))


POSTS = ("/v1/predict", "/v1/feedback")


@pytest.mark.parametrize("path", POSTS)
def test_a_body_that_fits_the_document_is_answered_as_it_says(
    running: Running, document: Document, path: str
):
    seen: set[int] = set()
    schema = document.request("POST", path)
    known = running.predict("money")["request_id"]

    @fuzz
    @given(document.fitting(schema), st.sampled_from(LABELS), st.booleans())
    def answered(body: dict[str, Any], label: str, real: bool) -> None:
        if real:  # Chance alone hits no request id and no input key often enough.
            right: dict[str, Any] = {"inputs": [{"text": label}]}
            if path == "/v1/feedback":
                right = {"request_id": known, "label": label, "row": 0}
            body = body | right
        assert not list(document.faults(schema, body)), "the generator is wrong"
        reply = running.client.post(path, json=body)
        check(document, "POST", path, reply)
        seen.add(reply.status_code)

    answered()
    assert seen & {200, 201}, "nothing was accepted; the test would be vacuous"
    assert seen & {404, 422}, "nothing was refused; the test would be vacuous"


@pytest.mark.parametrize("path", POSTS)
def test_a_body_that_does_not_fit_the_document_is_refused_and_not_stumbled_over(
    running: Running, document: Document, path: str
):
    schema = document.request("POST", path)
    misfits = 0

    @fuzz
    @given(spoilt(document.fitting(schema)))
    def refused(body: Any) -> None:
        nonlocal misfits
        reply = running.client.post(path, content=json.dumps(body))
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
    good: dict[str, Any] = {"inputs": [{"text": "money"}]}
    if path == "/v1/feedback":
        good = {"request_id": running.predict("money")["request_id"], "label": "other"}
    assert running.client.post(path, json=good).is_success
    for name in schema["properties"]:
        for value in ("0", "true", "", 1, 1.5, True, None, [], {}):
            body = good | {name: value}
            reply = running.client.post(path, json=body)
            check(document, "POST", path, reply)
            if any(document.faults(schema, body)):
                assert reply.status_code == 422, body


@pytest.mark.parametrize("path", POSTS)
def test_bytes_that_are_no_json_are_refused(running: Running, document: Document, path: str):
    nested = st.integers(1, 200_000).map(lambda deep: b"[" * deep)
    cut = st.integers(0, 40).map(lambda end: b'{"inputs": [{"text": "money \xe4\xb8\xad"}]}'[:end])
    kinds = st.sampled_from(["application/json", "text/plain", "multipart/form-data", ""])

    @fuzz
    @given(st.binary(max_size=200) | nested | cut, kinds)
    def refused(raw: bytes, kind: str) -> None:
        reply = running.client.post(path, content=raw, headers={"content-type": kind})
        check(document, "POST", path, reply)

    refused()


def test_every_documented_read_answers_as_it_says(running: Running, document: Document):
    reads = [path for method, path in document.operations if method == "GET"]
    assert len(reads) >= 3
    for path in reads:
        reply = running.client.get(path)
        check(document, "GET", path, reply)
        assert reply.status_code == 200


def test_any_method_path_and_query_gets_a_well_formed_reply(running: Running, document: Document):
    fault = document.content["components"]["schemas"]["ErrorReply"]
    known = [*document.content["paths"], "/metrics", "/", "/static/page.js"]
    paths = st.sampled_from(known) | st.text(max_size=30).map(lambda text: "/" + text)

    @fuzz
    @given(st.sampled_from(METHODS), paths, st.text(max_size=20), st.binary(max_size=50))
    def answered(method: str, path: str, query: str, body: bytes) -> None:
        url = f"{running.url}{quote(path)}?{urlencode({'q': query})}"
        reply = running.client.request(method, url, content=body)
        assert reply.status_code < 500, reply.text
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

        @fuzz
        @given(st.sampled_from(METHODS), paths, schemes, tokens | st.just(KEY[:-1]))
        def refused(method: str, path: str, scheme: str, token: str) -> None:
            url = running.url + quote(path)
            headers = {"authorization": (scheme + token).strip()}
            reply = running.client.request(method, url, headers=headers, content=b"{}")
            if path in auth.PUBLIC:
                return
            tried.add(path)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"

        refused()
        documented = set(document.content["paths"]) - auth.PUBLIC
        assert documented <= tried, "a route was never tried; the test would be vacuous"
