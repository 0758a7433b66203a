"""Charges that flow along bonds: split-charge equilibration (SQE) and ACKS2, which are one linear system."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph, Edges
from eqff.errors import ModelError
from eqff.kernels.capture import operation
from eqff.longrange.conjugate_gradient import RUNAWAY, require_finite
from eqff.longrange.convergence import Convergence, Failure, refuse
from eqff.longrange.dense import require_finite_matrix
from eqff.longrange.equilibration import Equilibrated, HardnessAndCoulomb, evenly, in_field
from eqff.longrange.implicit_transfer import transfer_iteratively
from eqff.longrange.interaction import BoundInteraction, Interaction
from eqff.longrange.padding import Padding
from eqff.longrange.solutions import solutions
from eqff.longrange.transfer_iterations import TransferIterations
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
    iterative: bool = False,
    tolerance: float = 1e-10,
    max_iterations: int = 500,
    failed: Failure = refuse,
    start: Tensor | None = None,
) -> Equilibrated:
    """Charges that have flowed along bonds from given ones until this costs as much as it gains.

    SQE minimises chi·q + q·(A + J)·q / 2 + sum over bonds of kappa_ij p_ij² / 2, where q_i = q0_i + sum_j p_ji
    [Nistor et al., J. Chem. Phys. 125, 094108 (2006)]. ACKS2 makes chi·q + q·(A + J)·q / 2 + v·(q - q0) + v·X·v / 2
    stationary in the charges q and the shifts v of the atoms' potentials, where the response kernel X couples
    neighbours and its rows sum to zero [Verstraelen et al., J. Chem. Phys. 138, 074108 (2013)]. Without the flows,
    respectively the shifts, both read

        q = q0 - S (chi + (A + J) q),  (S v)_i = sum_j s_ij (v_i - v_j),  with s_ij = 1/kappa_ij = X_ij.

    Charge is kept on each connected set of atoms. As the bonds get infinitely soft, this becomes QEq on each set.
    Differentiable to any order.

    Args:
        graph: The batch.
        interaction: What A is.
        electronegativity: chi in V, (N,).
        hardness: J in eV/e² without what A has on its diagonal, (N,).
        widths: Of the charges, Å, (N,), if the interaction asks for them.
        bonds: Between which charge flows; both directions of each.
        softness: s_ij in e²/eV, (E,), not negative and the same for both directions.
        initial: q0 in e, (N,); by default the total charge shared evenly.
        field: Uniform external field in V/Å, (B, 3); by default the structures' own.
        iterative: Conjugate gradients instead of a factorisation; always where a structure is summed on a mesh.
        tolerance: Relative residual of the iterations.
        max_iterations: Of the iterations.
        failed: What is done if they don't converge.
        start: Potentials -(chi + (A + J) q) in V, (N,), with which iterations begin; by default what ``graph.solves``
            expects. The result does not depend on it beyond the tolerance.

    Raises:
        ModelError: There is no minimum, no convergence, or a field acts along a lattice vector.
    """
    chi, hardness, softness = (x.to(torch.float64) for x in (electronegativity, hardness, softness))
    chi = in_field(graph, chi, field)
    widths = None if widths is None else widths.to(torch.float64)
    given = evenly(graph, graph.total_charge.to(torch.float64)) if initial is None else initial.to(torch.float64)
    bound = interaction.bind(graph, widths)
    told: list[Convergence] = []
    if iterative or not bound.has_matrix:
        matrix = HardnessAndCoulomb(graph, interaction)
        solver = TransferIterations(graph.batch, graph.num_structures, tolerance, max_iterations, WHAT, failed=failed)
        gain = -(chi + hardness * given + bound.potential(given))
        begin = None if start is None else start.detach().to(torch.float64)
        flow, tensors = partial(_flow, bonds), matrix.tensors(hardness, widths)
        flows, told = transfer_iteratively(
            gain, matrix.product, flow, softness, tensors, solver, matrix.prepare, begin, graph.solves
        )
        solved = given + flows
    else:
        solved = _factorised(graph, bound, chi, hardness, bonds, softness, given)
    potential = chi + hardness * solved + bound.potential(solved)
    difference = potential[bonds.receiver] - potential[bonds.sender]
    # once more through the bonds: what leaves one atom arrives at another to the last digit
    charges = given - _flow(bonds, potential, softness)
    transfer = 0.25 * segment_sum(softness * difference.square(), bonds.receiver, graph.num_atoms)
    atoms = chi * charges + 0.5 * hardness * charges.square() + transfer
    energy = segment_sum(atoms, graph.batch, graph.num_structures) + bound.energy(charges)
    return Equilibrated(charges, energy, told)


def _flow(bonds: Edges, shifts: Tensor, softness: Tensor) -> Tensor:
    """S v, (N,)."""
    difference = shifts[bonds.receiver] - shifts[bonds.sender]
    return segment_sum(softness * difference, bonds.receiver, shifts.shape[0])


def _factorised(
    graph: AtomicGraph,
    bound: BoundInteraction,
    chi: Tensor,
    hardness: Tensor,
    bonds: Edges,
    softness: Tensor,
    start: Tensor,
) -> Tensor:
    matrix, padding = bound.matrix()
    matrix = matrix + torch.diag_embed(padding.gather(hardness))
    response = _response(bonds, softness, padding, graph.batch)
    eye = torch.eye(matrix.shape[1], dtype=torch.float64, device=matrix.device)
    right = start - _flow(bonds, chi, softness)
    whole = eye + response @ matrix
    given = (matrix.detach(), response.detach(), right.detach(), padding.mask, graph.batch)
    factors = transfer_factors(*given)
    return padding.scatter(solutions(whole, padding.gather(right), transfer_solutions, *factors))


def _response(bonds: Edges, softness: Tensor, padding: Padding, batch: Tensor) -> Tensor:
    """S of each structure, (B, n, n)."""
    count, size = padding.index.shape
    place = padding.places(batch)
    row = (batch * size + place)[bonds.receiver] * size
    own, other = row + place[bonds.receiver], row + place[bonds.sender]
    # a bond to the atom's own image cancels
    both = segment_sum(torch.cat([softness, -softness]), torch.cat([own, other]), count * size * size)
    return both.reshape(count, size, size)


def _factors_like(
    matrix: Tensor, response: Tensor, right: Tensor, mask: Tensor, batch: Tensor
) -> tuple[Tensor, Tensor]:
    return matrix.new_empty(matrix.shape), matrix.new_empty(matrix.shape[:2], dtype=torch.int32)


@operation(
    "(Tensor matrix, Tensor response, Tensor right, Tensor mask, Tensor batch) -> (Tensor, Tensor)", _factors_like
)
def transfer_factors(
    matrix: Tensor, response: Tensor, right: Tensor, mask: Tensor, batch: Tensor
) -> tuple[Tensor, Tensor]:
    """1 + S M as L U and its pivots.

    Args:
        matrix: M, (B, n, n).
        response: S, (B, n, n).
        right: The right-hand side, (N,), which is looked at.
        mask: Whether a place is taken, (B, n).
        batch: Structure of each atom, (N,).

    Raises:
        ModelError: There is no minimum, or something is not finite.
    """
    require_finite(right, batch, WHAT)
    _require_minimum(matrix, response, mask)
    eye = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    factor, pivots = torch.linalg.lu_factor(eye + response @ matrix)
    return factor.contiguous(), pivots.contiguous()


def _solutions_like(right: Tensor, turned: bool, factor: Tensor, pivots: Tensor) -> Tensor:
    return right.new_empty(right.shape)


@operation("(Tensor right, bool turned, Tensor factor, Tensor pivots) -> Tensor", _solutions_like)
def transfer_solutions(right: Tensor, turned: bool, factor: Tensor, pivots: Tensor) -> Tensor:
    """Solutions (B, n) with the matrices whose factors `transfer_factors` gives, or with the transposed ones."""
    return torch.linalg.lu_solve(factor, pivots, right[..., None], adjoint=turned)[..., 0].contiguous()


def _require_minimum(matrix: Tensor, response: Tensor, mask: Tensor) -> None:
    """Raises ModelError unless 1 + √S M √S is positive definite; a positive definite M is enough for that."""
    _, failed = torch.linalg.cholesky_ex(matrix + torch.diag_embed((~mask).to(matrix.dtype)))
    for index in failed.nonzero()[:, 0].tolist():
        require_finite_matrix(matrix[index], index, WHAT)
        values, vectors = torch.linalg.eigh(response[index])
        root = vectors * values.clamp(min=0).sqrt()
        lowest = 1 + float(torch.linalg.eigvalsh(root.T @ matrix[index] @ root)[0])
        if lowest <= 0:
            raise ModelError(
                f"{WHAT} of structure {index} of the batch has no minimum: the lowest eigenvalue of 1 + √S M √S is "
                f"{lowest:.4g}. {RUNAWAY}"
            )
