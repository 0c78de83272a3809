from tests.shrink.exports import exported_once, remembering

__all__ = ["exported_once", "remembering"]
