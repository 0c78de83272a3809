"""A verdict goes through JSON unchanged."""

import json

from hypothesis import given
from hypothesis import strategies as st

from sartor.need.verdict import Verdict

numbers = st.floats(allow_nan=False)
counts = st.integers(0, 10**9)


@given(
    st.builds(
        Verdict,
        criterion=st.text(),
        value=numbers,
        low=numbers,
        high=numbers,
        n=counts,
        state=st.sampled_from(("met", "unmet", "unproven")),
        more=st.one_of(st.none(), st.tuples(counts, counts)),
        more_of=st.text(),
        note=st.text(),
    )
)
def test_a_verdict_survives_json(verdict):
    assert Verdict.of_json(json.loads(json.dumps(verdict.as_json()))) == verdict
