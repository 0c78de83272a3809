"""A JSON file of a bundle, which nobody vouches for, as a pydantic model."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from sartor.core.errors import BundleError
from sartor.core.forms import first_fault

_Model = TypeVar("_Model", bound=BaseModel)
_FIX = "build the bundle again with `sartor run`."


def read_checked(path: Path, model: type[_Model], most: int = 4_000_000) -> _Model:
    """Read it.

    Args:
        path: The file.
        model: Its form.
        most: Bytes that it may have.

    Raises:
        BundleError: If it is too large or not of its form.
    """
    if path.stat().st_size > most:
        raise BundleError(f"{path} is larger than {most / 1e6:.0f} MB.", fix=_FIX)
    try:
        return model.model_validate(json.loads(path.read_bytes()))
    except ValidationError as error:
        raise BundleError(f"{path}, key {first_fault(error)}.", fix=_FIX) from None
    except (ValueError, RecursionError):
        raise BundleError(f"{path} is not JSON.", fix=_FIX) from None
