"""Lambda's events become requests, and replies what Lambda returns."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import sartor
from sartor.bundle import Bundle
from sartor.serve.aws_lambda import MIB_PER_CORE, handle, open_handler, threads
from sartor.serve.function import Function

BODY = '{"inputs": [{"text": "money back"}]}'


@pytest.fixture
def function(bundle: Bundle) -> Function:
    return Function.open(bundle.folder, threads=1)


def event(path: str = "/v1/predict", body: str | None = BODY, **more: Any) -> dict[str, Any]:
    """Of a function URL, format 2.0."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "x.lambda-url.eu-west-1.on.aws"},
        "requestContext": {
            "accountId": "anonymous",
            "domainName": "x.lambda-url.eu-west-1.on.aws",
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.9",
                "userAgent": "curl/8",
            },
            "requestId": "e1506fd5-9e7b-434f-bd42-4f8fa224b599",
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": 1_583_348_638_390,
        },
        "body": body,
        "isBase64Encoded": False,
        **more,
    }


def test_a_function_url_is_answered(function: Function):
    reply = handle(function, event())
    assert reply["statusCode"] == 200
    assert reply["headers"]["content-type"] == "application/json"
    assert reply["isBase64Encoded"] is False
    outputs = json.loads(reply["body"])["outputs"]
    assert outputs == sartor.load(function.runtime.bundle.folder).predict(["money back"])


def test_a_body_in_base64_is_decoded(function: Function):
    told = base64.b64encode('{"inputs": [{"text": "账单 tax"}]}'.encode()).decode()
    assert handle(function, event(body=told, isBase64Encoded=True))["statusCode"] == 200


@pytest.mark.parametrize(("body", "status"), [("###", 400), ("账单", 400), ("A" * 2_000_000, 413)])
def test_a_body_that_is_no_base64_or_too_long_is_refused(
    function: Function, body: str, status: int
):
    reply = handle(function, event(body=body, isBase64Encoded=True))
    assert reply["statusCode"] == status
    assert set(json.loads(reply["body"])["error"]) == {"what", "fix"}


def test_a_body_with_half_a_surrogate_pair_is_no_json(function: Function):
    reply = handle(function, event(body='{"inputs": [{"text": "\ud800"}]}'))
    assert reply["statusCode"] == 400
    assert "not usable JSON" in json.loads(reply["body"])["error"]["what"]


def test_the_stage_of_a_gateway_is_no_part_of_the_path(function: Function):
    given = event("/prod/v1/predict")
    given["requestContext"]["stage"] = "prod"
    assert handle(function, given)["statusCode"] == 200


def test_format_1_is_answered_too(function: Function):
    given = {
        "version": "1.0",
        "resource": "/{proxy+}",
        "path": "/v1/predict",
        "httpMethod": "POST",
        "headers": {"Content-Type": "application/json", "X-Request-Id": "mine"},
        "requestContext": {"stage": "prod", "path": "/prod/v1/predict", "httpMethod": "POST"},
        "body": BODY,
        "isBase64Encoded": False,
    }
    reply = handle(function, given)
    assert (reply["statusCode"], reply["headers"]["x-request-id"]) == (200, "mine")
    health = {"httpMethod": "GET", "path": "/readyz", "headers": None, "body": None}
    assert handle(function, health)["statusCode"] == 200


def test_rows_are_answered_without_http(function: Function):
    reply = handle(function, {"rows": ["money back", {"text": "tax"}]})
    assert [one["label"] for one in reply["outputs"]] == ["refund", "invoice"]
    assert reply["model"] == function.runtime.id
    assert len(reply["request_id"]) == 32


@pytest.mark.parametrize(
    ("given", "status", "what"),
    [
        ({"rows": []}, 422, "rows: List should have at least 1 item"),
        ({"rows": "tax"}, 422, "rows: Input should be a valid list"),
        ({"rows": ["tax"], "users": "u"}, 422, "users: Extra inputs are not permitted"),
        ({"rows": [{"txt": "tax"}]}, 422, "Row 0 has the key 'txt'"),
        ({"rows": ["tax"] * 257}, 413, "257 rows in one request"),
        ({"rows": ["x" * 20_001]}, 413, "Row 0 has 20,001 characters"),
    ],
)
def test_rows_that_cannot_be_answered_are_explained(
    function: Function, given: dict[str, Any], status: int, what: str
):
    reply = handle(function, given)
    assert reply["status"] == status
    assert reply["error"]["what"].startswith(what)
    assert reply["error"]["fix"]


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        "rows",
        {},
        {"Records": [{"eventSource": "aws:sqs", "body": "tax"}]},
        {"requestContext": 3, "rawPath": "/v1/predict"},
        {"requestContext": {"http": {}}, "rawPath": "/v1/predict"},
    ],
)
def test_another_event_is_refused_not_guessed_at(function: Function, given: Any):
    reply = handle(function, given)
    assert reply["statusCode"] == 400
    assert "neither an HTTP request nor rows" in json.loads(reply["body"])["error"]["what"]


@pytest.mark.parametrize(
    ("memory", "count"),
    [("512", 1), (str(MIB_PER_CORE), 1), ("3008", 1), ("3538", 2), ("10240", 2), ("", None)],
)
def test_threads_are_the_whole_cores_that_the_memory_buys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, memory: str, count: int | None
):
    # No `sys` below: each of two hardware threads counts as a core.
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory)
    assert threads(tmp_path) == count


def test_the_handler_is_what_lambda_calls(bundle: Bundle):
    handler = open_handler(bundle.folder)
    assert handler(event(), object())["statusCode"] == 200
