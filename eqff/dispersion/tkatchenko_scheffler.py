"""Pairwise dispersion from Hirshfeld volumes [Tkatchenko & Scheffler, Phys. Rev. Lett. 102, 073005 (2009)]."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.all_pairs import AllPairs
from eqff.dispersion.free_atoms import DispersionAtoms
from eqff.dispersion.inverse_sixth import SmoothSum, near_part
from eqff.dispersion.reach import require_reach
from eqff.longrange.tuning import Splitting
from eqff.nn.reduce import segment_sum


def combined_c6(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    """C6 of unlike atoms, 2 C_i C_j / (alpha_j/alpha_i C_i + alpha_i/alpha_j C_j): London's formula with
    Slater and Kirkwood's frequencies.

    Args:
        first: Polarizabilities (Å³) and C6 (eV·Å⁶) of atoms i.
        second: Of atoms j, of shapes that broadcast.
    """
    (a_i, c_i), (a_j, c_j) = first, second
    return 2 * a_i * a_j * c_i * c_j / (a_j.square() * c_i + a_i.square() * c_j)


def fermi_damping(lengths: Tensor, reach: Tensor, steepness: float) -> Tensor:
    """1 / (1 + exp(-d (r/R - 1))) of distances r and radii R of pairs, both Å, (E,)."""
    return torch.sigmoid(steepness * (lengths / reach - 1))


def ts_energy(
    graph: AtomicGraph, pairs: AllPairs, atoms: DispersionAtoms, splitting: Splitting, sr: float, steepness: float
) -> Tensor:
    """E = -1/2 sum_ij C6_ij f(r_ij) / r_ij⁶ over all pairs and images, f = `fermi_damping` with R = s_R (R_i + R_j).

    Args:
        graph: The batch.
        pairs: Its pairs.
        atoms: Their coefficients and radii.
        splitting: Of lattice sums, with which the pairs were made.
        sr: s_R, which depends on the functional that dispersion is added to.
        steepness: d.

    Returns:
        Each atom's half of its pair energies in eV, (N,).

    Raises:
        ModelError: Damping in a periodic structure reaches beyond its neighbours.
    """
    require_reach(graph, atoms.radius, sr, steepness, splitting, "Tkatchenko-Scheffler dispersion")
    sender, receiver = pairs.sender, pairs.receiver
    coefficients = combined_c6(
        (atoms.polarizability[receiver], atoms.c6[receiver]), (atoms.polarizability[sender], atoms.c6[sender])
    )
    damping = fermi_damping(pairs.lengths, sr * (atoms.radius[sender] + atoms.radius[receiver]), steepness)
    alpha = splitting.alpha * pairs.periodic
    each = (damping - 1 + near_part(pairs.lengths, alpha)) * pairs.fade / pairs.lengths**6
    energy = segment_sum(-0.5 * coefficients * each, receiver, graph.num_atoms)
    structures = graph.pbc.any(dim=1).nonzero()[:, 0]
    return energy + _smooth_energy(graph, structures, atoms, splitting) if len(structures) else energy


def _smooth_energy(graph: AtomicGraph, structures: Tensor, atoms: DispersionAtoms, splitting: Splitting) -> Tensor:
    """The part over wave vectors, (N,)."""
    smooth = SmoothSum.of(graph, structures, splitting)
    mask = smooth.padding.mask
    polarizability = torch.where(mask, smooth.padding.gather(atoms.polarizability), 1.0)
    c6 = smooth.padding.gather(atoms.c6)
    safe = torch.where(mask, c6, 1.0)
    of_pair = combined_c6((polarizability[:, :, None], safe[:, :, None]), (polarizability[:, None], safe[:, None]))
    both = mask[:, :, None] & mask[:, None, :]
    rows = torch.where(both, of_pair * smooth.matrix, 0.0).sum(dim=2) - c6 * smooth.own
    return smooth.padding.scatter(-0.5 * rows)
