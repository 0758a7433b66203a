"""Old model files keep loading: one function per past format version, each taking the file one version further.

To change the format: raise ``FORMAT_VERSION``, write the step here, and store a file of the version before as a fixture
under tests/checkpoints/fixtures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from eqff.errors import ModelError

FORMAT_VERSION = 1

Header = dict[str, Any]
Tensors = dict[str, Tensor]
Upgrade = Callable[[Header, Tensors], tuple[Header, Tensors]]

UPGRADES: dict[int, Upgrade] = {}
"""Version to the function that makes the next version of its metadata and tensors."""


def upgrade(header: Header, tensors: Tensors, place: str) -> tuple[Header, Tensors]:
    """Metadata and tensors in today's format.

    Args:
        header: The file's metadata; ``format_version`` says how old it is.
        tensors: Its tensors by name; may be empty where only the metadata is read.
        place: The file, for messages.

    Raises:
        ModelError: The file is newer than this eqff, or its version was never written.
    """
    version = header.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ModelError(f"{place} gives no usable format version ({version!r}): it was not written by eqff.")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{place} has format version {version}, written by eqff {header.get('eqff_version', '?')}; this eqff reads "
            f"up to version {FORMAT_VERSION}. Update eqff: pip install -U eqff."
        )
    while version < FORMAT_VERSION:
        try:
            header, tensors = UPGRADES[version](header, tensors)
        except (LookupError, TypeError, AttributeError) as error:
            raise ModelError(f"{place} is not a whole file of format version {version}: {error!r}.") from error
        version += 1
        header = header | {"format_version": version}
    return header, tensors
