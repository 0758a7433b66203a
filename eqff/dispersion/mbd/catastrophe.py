"""Where coupled dipoles have no stable state: errors that name the structure, the pair and the eigenvalue."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.dispersion.all_pairs import AllPairs
from eqff.dispersion.mbd.blocks import BlockLayout
from eqff.errors import ModelError

REMEDY = (
    "Their dipoles would polarize each other without bound (polarization catastrophe). Correct the geometry, make the "
    "volume ratios smaller, or leave many-body dispersion out for such structures."
)


def require_positive_matrices(matrix: Tensor, layout: BlockLayout, pairs: AllPairs) -> None:
    """Raises ModelError unless the static response matrices (B, 3n, 3n), 1/Å³, are positive definite."""
    with torch.no_grad():
        _, failed = torch.linalg.cholesky_ex(matrix)
        if not bool(failed.any()):
            return
        worst = int(failed.nonzero()[0])
        values, vectors = torch.linalg.eigh(matrix[worst])
    what = f"the short-range response has the eigenvalue {float(values[0]):.4g} Å⁻³"
    raise ModelError(
        f"Many-body dispersion of {_where(worst, vectors[:, 0], matrix[worst], layout, pairs)}: {what}. {REMEDY}"
    )


def require_positive_modes(
    values: Tensor, vectors: Tensor, matrix: Tensor, layout: BlockLayout, pairs: AllPairs
) -> None:
    """Raises ModelError if an eigenvalue (M, 3n) of the coupled oscillators (M, 3n, 3n), eV², is not positive."""
    if not values.shape[1]:  # structures without atoms
        return
    lowest = values.detach()[:, 0]
    bad = ~(lowest > 0)
    if bool(bad.any()):
        worst = int(bad.nonzero()[0])
        place = _where(worst, vectors[worst, :, 0], matrix.detach()[worst], layout, pairs)
        raise ModelError(
            f"Many-body dispersion of {place}: the lowest squared frequency of the coupled oscillators is "
            f"{float(lowest[worst]):.4g} eV². {REMEDY}"
        )


def require_positive_screened(polarizability: Tensor, layout: BlockLayout, pairs: AllPairs) -> None:
    """Raises ModelError if the screened polarizability (N,), Å³, of an atom is not positive; names its neighbour."""
    bad = ~(polarizability.detach() > 0)
    if bool(bad.any()):
        atom = int(bad.nonzero()[0])
        name = f"structure {int(layout.padding.batch[atom])} of the batch"
        raise ModelError(
            f"Many-body dispersion of {name}, {_nearest(atom, pairs)}: screening gives atom {atom} a polarizability "
            f"of {float(polarizability.detach()[atom]):.4g} Å³. {REMEDY} With "
            "screening=false nothing is screened."
        )


def _nearest(atom: int, pairs: AllPairs) -> str:
    """An atom and its nearest neighbour with their distance in Å."""
    partners = (pairs.receiver == atom).nonzero()[:, 0]
    if not len(partners):
        return f"atom {atom} of the batch"
    lengths = pairs.lengths.detach()[partners]
    nearest = int(pairs.sender[partners[lengths.argmin()]])
    return f"atoms {atom} and {nearest} of the batch, {float(lengths.min()):.3f} Å apart"


def _where(sample: int, mode: Tensor, matrix: Tensor, layout: BlockLayout, pairs: AllPairs) -> str:
    """The structure, and the two atoms whose coupling lowers a mode (3n,) of a matrix (3n, 3n) most, with their
    distance in Å."""
    name = f"structure {int(layout.samples.structure[sample])} of the batch"
    share = (mode.conj()[:, None] * matrix * mode[None, :]).real
    share = share.unflatten(0, (-1, 3)).unflatten(2, (-1, 3)).sum(dim=(1, 3)).fill_diagonal_(0.0)
    row, column = divmod(int(share.argmin()), len(share))
    first, second = (int(layout.padding.index[sample, place]) for place in (row, column))
    between = ((pairs.receiver == first) & (pairs.sender == second)).nonzero()[:, 0]
    if row == column or not len(between):  # an atom and its own images
        return f"{name}, {_nearest(first, pairs)}"
    distance = float(pairs.lengths.detach()[between].min())
    return f"{name}, atoms {first} and {second} of the batch, {distance:.3f} Å apart"
