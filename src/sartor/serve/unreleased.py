"""What is done about a bundle whose need is unmet or unproven, when it is loaded."""

import warnings
from typing import Literal

from sartor.bundle import Bundle
from sartor.core.errors import BundleError

How = Literal["warn", "allow", "refuse"]


class UnreleasedWarning(UserWarning):
    """The bundle answers although its need was not shown to be met."""


def tell_unreleased(bundle: Bundle, how: How) -> None:
    """
    Raises:
        BundleError: Where such a bundle is refused.
    """
    what = f"{bundle.folder} is not released: its need is unmet or unproven."
    if how == "refuse":
        raise BundleError(what, fix="add --unreleased to use it all the same.")
    if how == "warn":
        warnings.warn(f"{what} Answers may be wrong.", UnreleasedWarning, stacklevel=3)
