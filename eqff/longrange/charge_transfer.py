"""Charges that flow along bonds: split-charge equilibration (SQE) and ACKS2, which are one linear system."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph, Edges
from eqff.errors import ModelError
from eqff.longrange.conjugate_gradient import RUNAWAY
from eqff.longrange.equilibration import Equilibrated, in_field
from eqff.longrange.interaction import Interaction
from eqff.longrange.padding import Padding
from eqff.nn.reduce import segment_sum

WHAT = "The charge transfer"


def equilibrate_by_transfer(
    graph: AtomicGraph,
    interaction: Interaction,
    electronegativity: Tensor,
    hardness: Tensor,
    widths: Tensor | None,
    bonds: Edges,
    softness: Tensor,
    *,
    initial: Tensor | None = None,
    field: Tensor | None = None,
) -> Equilibrated:
    """Charges that have flowed along bonds from given ones until this costs as much as it gains.

    SQE minimises chi·q + q·(A + J)·q / 2 + sum over bonds of kappa_ij p_ij² / 2, where q_i = q0_i + sum_j p_ji
    [Nistor et al., J. Chem. Phys. 125, 094108 (2006)]. ACKS2 makes chi·q + q·(A + J)·q / 2 + v·(q - q0) + v·X·v / 2
    stationary in the charges q and the shifts v of the atoms' potentials, where the response kernel X couples
    neighbours and its rows sum to zero [Verstraelen et al., J. Chem. Phys. 138, 074108 (2013)]. Without the flows,
    respectively the shifts, both read

        q = q0 - S (chi + (A + J) q),  (S v)_i = sum_j s_ij (v_i - v_j),  with s_ij = 1/kappa_ij = X_ij.

    Charge is kept on each connected set of atoms. As the bonds get infinitely soft, this becomes QEq on each set.
    Differentiable to any order; matrices are formed, so this is for structures of some hundred atoms.

    Args:
        graph: The batch.
        interaction: What A is.
        electronegativity: chi in V, (N,).
        hardness: J in eV/e² without what A has on its diagonal, (N,).
        widths: Of the charges, Å, (N,), if the interaction asks for them.
        bonds: Between which charge flows; both directions of each.
        softness: s_ij in e²/eV, (E,), not negative and the same for both directions.
        initial: q0 in e, (N,); by default the total charge shared evenly.
        field: Uniform external field in V/Å, (B, 3); open structures only.

    Raises:
        ModelError: There is no minimum, or a field acts on a periodic structure.
    """
    chi, hardness, softness = (x.to(torch.float64) for x in (electronegativity, hardness, softness))
    chi = in_field(graph, chi, field)
    widths = None if widths is None else widths.to(torch.float64)
    start = _even(graph) if initial is None else initial.to(torch.float64)
    bound = interaction.bind(graph, widths)
    matrix, padding = bound.matrix()
    matrix = matrix + torch.diag_embed(padding.gather(hardness))
    response = _response(bonds, softness, padding, graph.batch)
    _require_minimum(matrix.detach(), response.detach(), padding)
    eye = torch.eye(matrix.shape[1], dtype=torch.float64, device=matrix.device)
    right = padding.gather(start) - (response @ padding.gather(chi)[..., None])[..., 0]
    solved = padding.scatter(torch.linalg.solve(eye + response @ matrix, right))

    potential = chi + hardness * solved + bound.potential(solved)
    difference = potential[bonds.receiver] - potential[bonds.sender]
    # once more through the bonds: what leaves one atom arrives at another to the last digit
    charges = start - segment_sum(softness * difference, bonds.receiver, graph.num_atoms)
    transfer = 0.25 * segment_sum(softness * difference.square(), bonds.receiver, graph.num_atoms)
    atoms = chi * charges + 0.5 * hardness * charges.square() + transfer
    energy = segment_sum(atoms, graph.batch, graph.num_structures) + bound.energy(charges)
    return Equilibrated(charges, energy, [])


def _even(graph: AtomicGraph) -> Tensor:
    counts = torch.bincount(graph.batch, minlength=graph.num_structures).clamp(min=1)
    return (graph.total_charge.to(torch.float64) / counts)[graph.batch]


def _response(bonds: Edges, softness: Tensor, padding: Padding, batch: Tensor) -> Tensor:
    """S of each structure, (B, n, n)."""
    count, size = padding.index.shape
    place = torch.zeros_like(batch)
    place[padding.index[padding.mask]] = padding.mask.nonzero(as_tuple=True)[1]
    row = (batch * size + place)[bonds.receiver] * size
    own, other = row + place[bonds.receiver], row + place[bonds.sender]
    # a bond to the atom's own image cancels
    both = segment_sum(torch.cat([softness, -softness]), torch.cat([own, other]), count * size * size)
    return both.reshape(count, size, size)


def _require_minimum(matrix: Tensor, response: Tensor, padding: Padding) -> None:
    """Raises ModelError unless 1 + √S M √S is positive definite; a positive definite M is enough for that."""
    _, failed = torch.linalg.cholesky_ex(matrix + torch.diag_embed((~padding.mask).to(matrix.dtype)))
    for index in failed.nonzero()[:, 0].tolist():
        values, vectors = torch.linalg.eigh(response[index])
        root = vectors * values.clamp(min=0).sqrt()
        lowest = 1 + float(torch.linalg.eigvalsh(root.T @ matrix[index] @ root)[0])
        if lowest <= 0:
            raise ModelError(
                f"{WHAT} of structure {index} of the batch has no minimum: the lowest eigenvalue of 1 + √S M √S is "
                f"{lowest:.4g}. {RUNAWAY}"
            )
