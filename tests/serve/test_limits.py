"""Rate limits: the long-run rate holds, nothing is too large for ever, memory has a bound."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import RequestError, SettingError
from sartor.core.grants import Grant, Rate
from sartor.core.store import Store
from sartor.serve.limits import Limiter, charge, enter
from sartor.serve.settings import ServeSettings
from tests.serve.conftest import Running, Serving
from tests.serve.test_auth import bearer
from tests.serve.test_oip import INFER, TENSOR
from tests.serve.test_room import metric


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def let_in(limiter: Limiter, rows: int, who: str = "a", rate: str | None = None) -> bool:
    bucket = limiter.bucket(who, rate)
    if bucket is None:
        return True
    try:
        enter(bucket)
        charge(bucket, rows - 1)
    except RequestError:
        return False
    return True


def test_a_full_bucket_lets_its_rate_in_at_once_and_then_refills():
    clock = Clock()
    limiter = Limiter(Rate(10, 5), clock=clock)
    assert [let_in(limiter, 1) for _ in range(12)] == [True] * 10 + [False] * 2
    assert limiter.bucket("a", None).wait_s == 1
    clock.now += 0.5
    assert [let_in(limiter, 1) for _ in range(2)] == [True, False]
    clock.now += 1_000
    assert sum(let_in(limiter, 1) for _ in range(30)) == 10, "idle time is not saved up"


def test_a_request_larger_than_the_bucket_is_let_in_and_paid_for_afterwards():
    clock = Clock()
    limiter = Limiter(Rate(10, 1), clock=clock)
    assert let_in(limiter, 110)
    assert limiter.bucket("a", None).wait_s == 11
    clock.now += 10
    assert not let_in(limiter, 1)
    clock.now += 0.2
    assert let_in(limiter, 1)


def test_of_requests_that_came_in_together_only_the_first_makes_debts():
    limiter = Limiter(Rate(10, 1), clock=Clock())
    buckets = [limiter.bucket("a", None) for _ in range(5)]
    for bucket in buckets:
        enter(bucket)
    charge(buckets[0], 255)
    for bucket in buckets[1:]:
        with pytest.raises(RequestError):
            charge(bucket, 255)
    assert buckets[0].left == 10 - 5 - 255


@settings(max_examples=50, deadline=None, database=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 256)), min_size=1, max_size=60))
def test_in_the_long_run_no_more_rows_come_through_than_the_rate_says(asked):
    clock = Clock()
    limiter = Limiter(Rate(20, 1), clock=clock)
    taken = last = 0
    for pause, rows in asked:
        clock.now += pause
        if let_in(limiter, rows):
            taken, last = taken + rows, rows
    # A full bucket at the start, and the debt of the last request.
    assert taken <= 20 + 20 * clock.now + last


def test_buckets_are_kept_apart_and_bounded():
    limiter = Limiter(Rate(1, 60), clock=Clock(), most=100)
    assert let_in(limiter, 1, "a")
    assert let_in(limiter, 1, "b")
    assert not let_in(limiter, 1, "a")
    for number in range(1_000):
        assert let_in(limiter, 1, f"address {number}")
        assert not let_in(limiter, 1, "a"), "one that is in use was thrown out"
    assert len(limiter) == 100


def test_a_key_with_a_rate_of_its_own_goes_by_that():
    limiter = Limiter(Rate(1, 60), clock=Clock())
    assert [let_in(limiter, 1, "k", "3/h") for _ in range(4)] == [True] * 3 + [False]
    assert all(let_in(limiter, 1, "free", "none") for _ in range(50))
    assert let_in(limiter, 1, "k", "5/h"), "a changed rate begins with a full bucket"
    assert Limiter(None).bucket("a", None) is None


def test_rows_are_charged_over_both_protocols_and_the_reply_says_what_is_left(serving: Serving):
    with serving(rate_limit="10/h") as running:
        first = running.client.post("/v1/predict", json={"inputs": [{"text": "tax"}] * 3})
        assert first.headers["ratelimit-policy"] == '"rows";q=10;w=3600'
        assert first.headers["ratelimit"].startswith('"rows";r=7;t=')
        second = running.client.post(INFER, json={"inputs": [TENSOR]})
        assert second.headers["ratelimit"].startswith('"rows";r=5;t=')
        assert running.client.get("/v1/model").headers["ratelimit"].startswith('"rows";r=4;')
        large = running.client.post("/v1/predict", json={"inputs": [{"text": "tax"}] * 20})
        assert large.status_code == 200
        for method, path in (("POST", "/v1/predict"), ("GET", "/v1/model"), ("POST", INFER)):
            reply = running.client.request(method, path, content=b"not read")
            assert reply.status_code == 429
            # 17 rows of debt and one to come, at ten an hour.
            assert 5_000 < int(reply.headers["retry-after"]) <= 6_480
            assert reply.headers["ratelimit"].startswith('"rows";r=0;t=')
            assert "More than 10 rows in 3,600 s" in reply.text
        for path in ("/healthz", "/readyz", "/metrics", "/"):
            reply = running.client.get(path)
            assert reply.status_code == 200
            assert "ratelimit" not in reply.headers
        assert metric(running, "sartor_rate_limited_requests_total") == 3


def test_each_key_has_its_own_bucket_and_perhaps_its_own_rate(serving: Serving, tmp_path: Path):
    with Store.open(tmp_path / "store.db") as store:
        plain, other = store.add_key("plain"), store.add_key("other")
        rich = store.add_key("rich", Grant(rate="none"))
        poor = store.add_key("poor", Grant(rate="1/h"))
    with serving(rate_limit="2/h") as running:
        assert asks(running, plain) == 2
        assert asks(running, other) == 2
        assert asks(running, rich) == 5
        assert asks(running, poor) == 1


def asks(running: Running, key: str) -> int:
    """How many of five requests are answered."""
    replies = [running.client.get("/v1/model", headers=bearer(key)) for _ in range(5)]
    return sum(reply.status_code == 200 for reply in replies)


def test_an_address_that_a_client_made_up_is_believed_from_nobody(serving: Serving):
    with serving(rate_limit="2/h") as running:
        replies = [
            running.client.get(
                "/v1/model",
                headers={"x-forwarded-for": f"10.0.0.{n}", "forwarded": f"for=10.0.0.{n}"},
            )
            for n in range(4)
        ]
    assert [reply.status_code for reply in replies] == [200, 200, 429, 429]


def test_without_a_limit_nothing_is_counted_or_said(running: Running):
    assert "ratelimit" not in running.client.get("/v1/model").headers


def test_a_rate_that_means_nothing_is_refused_at_the_start():
    with pytest.raises(SettingError, match="'quick' is not a rate"):
        ServeSettings(bundle="x", rate_limit="quick")
