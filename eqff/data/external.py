"""External point charges around structures: those of a region that is not modelled, as solvent of a force field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqff.data.cells import exactly_transformed
from eqff.errors import DataError

POSITIONS, CHARGES, WIDTHS = NAMES = ("external_positions", "external_charges", "external_widths")
COUNT = "external_count"
"""Of a structure's external charges, (1,): how a batch knows which are whose."""

EXTERNAL = (*NAMES, COUNT)
"""Keys that structures among external charges have, and others have not."""

EXTERNAL_FORCES, EXTERNAL_POTENTIAL = "external_forces", "potential_at_external"
"""What predictions hold beside forces: eV/Å, (M, 3), and V, (M,)."""


@dataclass(frozen=True)
class ExternalCharges:
    """Of a batch, M in all.

    Attributes:
        positions: Å, (M, 3).
        charges: e, (M,).
        widths: w of densities exp(-r²/w²) in Å, (M,); 0 for points.
        batch: Around which structure each is, (M,) int64, ascending.
    """

    positions: Tensor
    charges: Tensor
    widths: Tensor
    batch: Tensor

    def strained(self, strain: Tensor) -> ExternalCharges:
        """The same under symmetric strains (B, 3, 3), which act on structures and their surroundings alike."""
        return replace(self, positions=self.positions + exactly_transformed(self.positions, strain[self.batch]))


def of_batch(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> ExternalCharges | None:
    """The external charges of batched tensors under the keys `EXTERNAL`; None where there are none."""
    if CHARGES not in tensors or not len(tensors[CHARGES]):
        return None
    counts = tensors[COUNT]
    structures = torch.arange(len(counts), device=counts.device)
    return ExternalCharges(
        positions=tensors[POSITIONS].to(dtype),
        charges=tensors[CHARGES].to(dtype),
        widths=tensors[WIDTHS].to(dtype),
        batch=torch.repeat_interleave(structures, counts, output_size=len(tensors[CHARGES])),
    )


def stated(values: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    """What one structure has of `EXTERNAL`; nothing where there are no external charges.

    Args:
        values: Of `NAMES` those that are given, (M, 3) and (M,); one width can stand for all, and none for points. Rows
            without a number at all fill up arrays of structures that have fewer, and are left out.
        place: The structure, for messages.

    Raises:
        DataError: Positions and charges are not both there, are not equally many, or a width is negative.
    """
    given = [name for name in NAMES if name in values]
    if not given:
        return {}
    for name in (POSITIONS, CHARGES):
        if name not in values:
            raise DataError(
                f"{place}: {' and '.join(given)} without {name}. External charges need {POSITIONS} (M, 3) in Å and "
                f"{CHARGES} (M,) in e; {WIDTHS} (M,) in Å is optional."
            )
    positions, charges = values[POSITIONS], values[CHARGES]
    widths = values.get(WIDTHS, torch.zeros(1, dtype=charges.dtype))
    widths = widths.expand(len(charges)) if len(widths) == 1 else widths
    if not len(positions) == len(charges) == len(widths):
        raise DataError(
            f"{place}: {len(positions)} {POSITIONS}, {len(charges)} {CHARGES} and {len(widths)} {WIDTHS}: there has to "
            "be one position (three numbers) and one charge of each."
        )
    if bool((widths < 0).any()):
        raise DataError(f"{place}: {WIDTHS} has a negative number; widths are in Å, 0 for points.")
    there = ~(charges.isnan() & positions.isnan().all(dim=1))
    if not bool(there.any()):
        return {}
    found = {POSITIONS: positions[there], CHARGES: charges[there], WIDTHS: widths[there]}
    return found | {COUNT: torch.tensor([len(found[CHARGES])])}


def nothing() -> dict[str, Tensor]:
    """What a structure without external charges has of `EXTERNAL` in a batch with others that have some."""
    empty = torch.zeros(0, dtype=torch.float64)
    count = torch.zeros(1, dtype=torch.int64)
    return {POSITIONS: empty.reshape(0, 3), CHARGES: empty, WIDTHS: empty, COUNT: count}
