"""What is wrong with a value that nobody vouches for, in a line of words."""

from pydantic import ValidationError

_MOST_CHARS = 200


def first_fault(error: Exception, whole: str = "the top level") -> str:
    """ "KEY: what is wrong", of the first fault where a form has several; without a full stop.

    Args:
        error: pydantic's, or any other: then its first line. Never the input itself.
        whole: Stands for the key where the value as a whole is at fault; "" leaves it out.
    """
    if not isinstance(error, ValidationError):
        lines = str(error).splitlines() or [type(error).__name__]
        return lines[0].rstrip(".")[:_MOST_CHARS]
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, fault["loc"])) or whole
    return (f"{where}: {fault['msg']}" if where else fault["msg"])[:_MOST_CHARS]
