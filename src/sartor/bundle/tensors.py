# pyright: basic
# safetensors' functions are untyped; this file is the border.
"""Arrays by name in safetensors' form: a length, a JSON header, the numbers. Nothing in it runs."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import BundleError

Tensors = Mapping[str, NDArray[np.float32]]


def pack_tensors(tensors: Tensors) -> bytes:
    """The same arrays, the same bytes."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(tensors[name], np.float32) for name in sorted(tensors)})


def unpack_tensors(data: bytes, place: str) -> dict[str, NDArray[np.float32]]:
    """Read what nobody vouches for.

    Args:
        data: All of the file, its size checked.
        place: What to call it in an error.

    Raises:
        BundleError: If it is not safetensors, or holds anything but numbers in float32.
    """
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(data)
    except SafetensorError as error:
        raise BundleError(
            f"{place} is not a safetensors file: {error}.", fix="copy it again, or make it anew."
        ) from None
    arrays: dict[str, NDArray[np.float32]] = {}
    for name, tensor in found:
        if tensor["dtype"] != "F32":
            raise BundleError(
                f"{place} holds {name!r:.100} as {tensor['dtype']}; only F32 is read.",
                fix="write it with `bundle.adapter.write_adapter`.",
            )
        arrays[name] = np.frombuffer(tensor["data"], "<f4").reshape(tensor["shape"])
    return arrays
