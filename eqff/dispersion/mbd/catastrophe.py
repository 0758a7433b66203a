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
    raise ModelError(f"Many-body dispersion of {_where(worst, vectors[:, 0], layout, pairs)}: {what}. {REMEDY}")


def require_positive_modes(values: Tensor, vectors: Tensor, layout: BlockLayout, pairs: AllPairs) -> None:
    """Raises ModelError if a squared frequency of the coupled oscillators (M, 3n), eV², is not positive."""
    lowest = values.detach()[:, 0]
    bad = ~(lowest > 0)
    if bool(bad.any()):
        worst = int(bad.nonzero()[0])
        place = _where(worst, vectors.detach()[worst, :, 0], layout, pairs)
        raise ModelError(
            f"Many-body dispersion of {place}: the lowest squared frequency of the coupled oscillators is "
            f"{float(lowest[worst]):.4g} eV². {REMEDY}"
        )


def require_positive_screened(polarizability: Tensor, layout: BlockLayout) -> None:
    """Raises ModelError if the screened polarizability (N,) of an atom is not positive."""
    bad = ~(polarizability.detach() > 0)
    if bool(bad.any()):
        atom = int(bad.nonzero()[0])
        raise ModelError(
            f"Many-body dispersion of structure {int(layout.padding.batch[atom])} of the batch: screening gives atom "
            f"{atom} of the batch a polarizability of {float(polarizability[atom]):.4g} Å³. {REMEDY}"
        )


def _where(sample: int, mode: Tensor, layout: BlockLayout, pairs: AllPairs) -> str:
    """The structure, and of the atoms that move in a mode (3n,) the two strongest with their distance in Å."""
    atoms, mask = layout.padding.index[sample], layout.padding.mask[sample]
    share = torch.where(mask, mode.abs().square().unflatten(0, (-1, 3)).sum(dim=1), -1.0)
    first = int(atoms[share.argmax()])
    name = f"structure {int(layout.samples.structure[sample])} of the batch"
    strength = torch.zeros(layout.padding.num_atoms, dtype=share.dtype, device=share.device)
    strength[atoms[mask]] = share[mask]
    partners = (pairs.receiver == first).nonzero()[:, 0]
    if not len(partners):
        return f"{name}, atom {first} of the batch"
    lengths = pairs.lengths.detach()[partners]
    # of equally strong partners (an atom's images, say) the nearest
    rank = strength[pairs.sender[partners]].round(decimals=6) - 1e-9 * lengths
    best = int(rank.argmax())
    second = int(pairs.sender[partners[best]])
    return f"{name}, atoms {first} and {second} of the batch, {float(lengths[best]):.3f} Å apart"
