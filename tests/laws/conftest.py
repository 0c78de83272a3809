from tests.exports import exported_once, operators_listed_once, remembering

__all__ = ["exported_once", "operators_listed_once", "remembering"]
