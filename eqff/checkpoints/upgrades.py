"""Old model files keep loading: one function per past format version, each taking the file one version further.

To change the format: raise ``FORMAT_VERSION``, write the step here, and store a file of the version before as a fixture
under tests/checkpoints/fixtures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from eqff.errors import ModelFileError

FORMAT_VERSION = 3

Header = dict[str, Any]
Tensors = dict[str, Tensor]
Upgrade = Callable[[Header, Tensors], tuple[Header, Tensors]]


def charges_and_levels(header: Header, tensors: Tensors) -> tuple[Header, Tensors]:
    """1 to 2: reference energies of charge states and levels of theory, which no model had before."""
    context = {"charge_reference": None, "level_of_theory": "", "level_offsets": {}}
    return header | {"context": header["context"] | context}, tensors


SCALED = (
    "eqff.exchange.charge_equilibration.NeutralChargeEquilibration",
    "eqff.exchange.spin_equilibration.NeutralSpinEquilibration",
    "eqff.heads.charges.Charges",
    "eqff.heads.spin_charges.SpinChannelCharges",
)
"""Parts that read charges as they are in files of version 2, and scaled since."""


def scales_of_charges(header: Header, tensors: Tensors) -> tuple[Header, Tensors]:
    """2 to 3: charges that are read are multiplied by a scale, which was 1."""
    config = dict(header.get("model_config", {}))  # that there is one is checked with all other entries
    for group in {"exchanges", "heads"} & config.keys():
        parts = config[group] or {}
        config[group] = {
            name: {"scale": 1.0, **part} if part and part["_target_"] in SCALED else part
            for name, part in parts.items()  # those that were left out are null
        }
    return (header | {"model_config": config} if "model_config" in header else header), tensors


UPGRADES: dict[int, Upgrade] = {1: charges_and_levels, 2: scales_of_charges}
"""Version to the function that makes the next version of its metadata and tensors."""


def require_known_version(header: Header, place: str) -> int:
    """The version of a file's format.

    Args:
        header: The file's metadata; ``format_version`` says how old it is.
        place: The file, for messages.

    Raises:
        ModelFileError: The file is newer than this eqff, or its version was never written.
    """
    version = header.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ModelFileError(f"{place} gives no usable format version ({version!r}): it was not written by eqff.")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{place} has format version {str(version)[:20]}, written by eqff {header.get('eqff_version', '?')}; this "
            f"eqff reads up to version {FORMAT_VERSION}. Update eqff: pip install -U eqff."
        )
    return version


def upgrade(header: Header, tensors: Tensors, place: str) -> tuple[Header, Tensors]:
    """Metadata and tensors in today's format.

    Args:
        header: The file's metadata.
        tensors: Its tensors by name; may be empty where only the metadata is read.
        place: The file, for messages.

    Raises:
        ModelFileError: See `require_known_version`; or an entry is missing that its version has.
    """
    version = require_known_version(header, place)
    while version < FORMAT_VERSION:
        try:
            header, tensors = UPGRADES[version](header, tensors)
        except (LookupError, TypeError, AttributeError) as error:
            raise ModelFileError(f"{place} is not a whole file of format version {version}: {error!r}.") from error
        version += 1
        header = header | {"format_version": version}
    return header, tensors
