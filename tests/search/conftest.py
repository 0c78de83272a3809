from tests.exports import filled_in

__all__ = ["filled_in"]
