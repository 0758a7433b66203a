"""What external point charges make at the atoms of open structures: potential, field and field gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.external import ExternalCharges
from eqff.data.graph import CONTACT, AtomicGraph
from eqff.errors import ModelError
from eqff.longrange.multipoles.damping import GaussianDamping
from eqff.longrange.multipoles.moments import LocalFields
from eqff.longrange.multipoles.radial import bare_chain
from eqff.nn.reduce import segment_sum
from eqff.units import COULOMB_CONSTANT


@dataclass(frozen=True)
class _Pairs:
    """Every atom with every external charge of its structure.

    Attributes:
        atom: Of each pair, (P,), ascending.
        charge: The external one, (P,).
        vectors: From the charge to the atom in Å, (P, 3) float64.
        lengths: Å, (P,).
    """

    atom: Tensor
    charge: Tensor
    vectors: Tensor
    lengths: Tensor


def external_fields(graph: AtomicGraph, rank: int, widths: Tensor | None = None) -> LocalFields | None:
    """The fields of the external charges of each structure at its atoms; None where no structure has any.

    Charges and atoms are Gaussian clouds exp(-r²/w²), so that between both 1/r becomes erf(r/gamma)/r with gamma² =
    w_atom² + w_external². Everything is float64 and differentiable by positions of both, charges and widths.

    Args:
        graph: The batch.
        rank: 0 for the potential, 1 for the field too, 2 for its gradient too.
        widths: Of the atoms' clouds in Å, (N,); None for points.

    Raises:
        ModelError: A periodic structure has external charges, or one of these lies on an atom.
    """
    external = graph.external
    if external is None:
        return None
    _require_open(graph, external)
    pairs = graph.once("pairs with external charges", lambda: _pairs(graph, external))
    damping = GaussianDamping(_all_widths(graph, external, widths))
    scales = damping.scales(pairs.lengths, pairs.atom, graph.num_atoms + pairs.charge, rank + 1)
    strength = COULOMB_CONSTANT * external.charges.to(torch.float64)[pairs.charge]
    bare = bare_chain(pairs.lengths, rank + 1)
    chain = [strength * scale * b for scale, b in zip(scales, bare, strict=True)]
    rows = [chain[0][:, None]]
    if rank >= 1:
        rows.append(pairs.vectors * chain[1][:, None])
    if rank >= 2:
        eye = torch.eye(3, dtype=torch.float64, device=pairs.vectors.device)
        outer = pairs.vectors[:, :, None] * pairs.vectors[:, None, :] * chain[2][:, None, None]
        rows.append((chain[1][:, None, None] * eye - outer).flatten(1))
    summed = segment_sum(torch.cat(rows, dim=1), pairs.atom, graph.num_atoms)
    return LocalFields(
        potential=summed[:, 0],
        field=summed[:, 1:4] if rank >= 1 else None,
        gradient=summed[:, 4:].reshape(-1, 3, 3) if rank >= 2 else None,
    )


def _all_widths(graph: AtomicGraph, external: ExternalCharges, widths: Tensor | None) -> Tensor:
    """Of the atoms, then of the external charges, (N + M,) float64."""
    outside = external.widths.to(torch.float64)
    own = outside.new_zeros(graph.num_atoms) if widths is None else widths.to(torch.float64)
    return torch.cat([own, outside])


def _pairs(graph: AtomicGraph, external: ExternalCharges) -> _Pairs:
    counts = torch.bincount(external.batch, minlength=graph.num_structures)
    first = (counts.cumsum(0) - counts)[graph.batch]
    of_atom = counts[graph.batch]
    atom = torch.repeat_interleave(of_atom)
    begin = of_atom.cumsum(0) - of_atom
    charge = torch.arange(len(atom), device=atom.device) - begin[atom] + first[atom]
    vectors = graph.positions.to(torch.float64)[atom] - external.positions.to(torch.float64)[charge]
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    near = lengths.detach() <= CONTACT
    if bool(near.any()):
        pair = int(near.nonzero()[0])
        raise ModelError(
            f"External charge {int(charge[pair])} of the batch lies on atom {int(atom[pair])} (structure "
            f"{int(graph.batch[atom[pair]])}). Leave out the charges of atoms that the model itself describes."
        )
    return _Pairs(atom, charge, vectors, lengths)


def _require_open(graph: AtomicGraph, external: ExternalCharges) -> None:
    if graph.open:
        return
    periodic = graph.pbc.any(dim=1)[external.batch]
    if bool(periodic.any()):
        raise ModelError(
            f"Structure {int(external.batch[periodic][0])} of the batch is periodic and among external charges, of "
            "which images are not known. Take the modelled region out of its cell (pbc=False), with the nearest images "
            "of the charges around it; `eqff.interfaces.openmm` does so."
        )
