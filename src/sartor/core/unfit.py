"""A value that is not what it should be, as whoever reads it says it, without its place."""


class Unfit(ValueError):
    """Whoever knows the place, a file's row or a request's key, tells it to the user.

    Args:
        what: What is wrong, as a sentence's second half without the place.
        fix: What to do, as a sentence without its stop.
    """

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what, self.fix = what, fix
