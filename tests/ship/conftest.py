"""The small bundle that the server's tests use."""

from tests.serve.conftest import bundle, make_bundle, parts

__all__ = ["bundle", "make_bundle", "parts"]
