from tests.exports import exported_once, filled_in, remembering

__all__ = ["exported_once", "filled_in", "remembering"]
