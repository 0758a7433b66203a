"""The energy of coupled oscillators.

[Tkatchenko et al., Phys. Rev. Lett. 108, 236402 (2012); Ambrosetti et al., J. Chem. Phys. 140, 18A508 (2014); periodic
structures: Bučko et al., J. Phys. Condens. Matter 28, 045201 (2016)]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.all_pairs import AllPairs
from eqff.dispersion.free_atoms import DispersionAtoms
from eqff.dispersion.mbd.blocks import BlockLayout
from eqff.dispersion.mbd.catastrophe import require_positive_modes
from eqff.dispersion.mbd.lattice import smooth_dipole_sum
from eqff.dispersion.mbd.limits import require_memory
from eqff.dispersion.mbd.matrix_sqrt import matrix_sqrt
from eqff.dispersion.mbd.sampling import Samples, samples_of
from eqff.dispersion.mbd.screening import Screened, screen
from eqff.dispersion.mbd.settings import MBDSettings
from eqff.dispersion.mbd.tensors import PairTensors, ewald_near, points
from eqff.dispersion.reach import require_reach
from eqff.dispersion.tkatchenko_scheffler import fermi_damping
from eqff.nn.reduce import segment_sum


@dataclass(frozen=True)
class ManyBodyDispersion:
    """What came of it.

    Attributes:
        energy: eV, (B,).
        screened: Polarizabilities and C6 behind it; None without screening.
    """

    energy: Tensor
    screened: Screened | None


def many_body_dispersion(graph: AtomicGraph, atoms: DispersionAtoms, settings: MBDSettings) -> ManyBodyDispersion:
    """E = 1/2 Σ sqrt(λ) - 3/2 Σ ω, λ the eigenvalues of ω_i² δ_ij + ω_i ω_j sqrt(alpha_i alpha_j) T_LR,ij.

    Args:
        graph: The batch, with the lists of `pair_lists`.
        atoms: Polarizabilities, C6 and radii before screening, (N,) each.
        settings: How.

    Raises:
        ModelError: The batch is too large for `MBDSettings.max_memory`, neighbours don't reach far enough, or dipoles
            have no stable state.
    """
    damping = (settings.beta, settings.steepness, settings.splitting)
    require_reach(graph, atoms.radius, *damping, "many-body dispersion")
    groups = samples_of(graph, settings.grid, settings.spacing)
    pairs = AllPairs.of(graph, settings.splitting.cutoff)
    require_memory(graph, pairs, groups, settings)
    screened = None
    if settings.screening:
        everything = samples_of(graph, None, None)[0]
        screened = screen(pairs, BlockLayout.of(graph, pairs, everything), atoms, settings)
        atoms = screened.atoms
    blocks = _long_range(pairs, atoms, settings).blocks(pairs.vectors)
    energy = segment_sum(-1.5 * atoms.frequency, graph.batch, graph.num_structures)
    for samples in groups:
        layout = BlockLayout.of(graph, pairs, samples)
        coupling = layout.assemble(blocks)
        coupling = coupling + _lattice_part(graph, layout, settings)
        energy = energy.index_add(0, samples.structure, samples.weights * _oscillators(layout, atoms, coupling, pairs))
    return ManyBodyDispersion(energy, screened)


def _long_range(pairs: AllPairs, atoms: DispersionAtoms, settings: MBDSettings) -> PairTensors:
    """f T of point dipoles, less what is summed over wave vectors; (E,)."""
    reach = settings.beta * (atoms.radius[pairs.sender] + atoms.radius[pairs.receiver])
    damping = fermi_damping(pairs.lengths, reach, settings.steepness)
    near = ewald_near(pairs.lengths, settings.splitting.alpha * pairs.periodic)
    return (points(pairs.lengths) * (damping - 1) + near) * pairs.fade


def _lattice_part(graph: AtomicGraph, layout: BlockLayout, settings: MBDSettings) -> Tensor:
    """The smooth part of periodic structures among the samples, zero for open ones, (M, 3n, 3n)."""
    samples, size = layout.samples, 3 * layout.padding.index.shape[1]
    dtype = torch.float64 if samples.at_origin else torch.complex128
    total = torch.zeros(len(samples), size, size, dtype=dtype, device=graph.positions.device)
    chosen = graph.pbc.any(dim=1)[samples.structure].nonzero()[:, 0]
    if not len(chosen):
        return total
    some = Samples(samples.structure[chosen], samples.fractions[chosen], samples.weights[chosen], samples.at_origin)
    padding = layout.padding.of(some.structure, graph.batch, graph.num_structures)
    smooth = smooth_dipole_sum(graph, padding, some, settings.splitting)
    missing = size - smooth.shape[1]
    return total.index_add(0, chosen, torch.nn.functional.pad(smooth, (0, missing, 0, missing)))


def _oscillators(layout: BlockLayout, atoms: DispersionAtoms, coupling: Tensor, pairs: AllPairs) -> Tensor:
    """1/2 Σ sqrt(λ) of each sample in eV, (M,)."""
    frequency = layout.gather(atoms.frequency, empty=1.0)
    strength = layout.gather(atoms.frequency * atoms.polarizability.sqrt(), empty=0.0)
    matrix = strength[:, :, None] * strength[:, None, :] * coupling
    matrix = matrix + torch.diag_embed(frequency.square())
    values, vectors = torch.linalg.eigh(matrix.detach())
    require_positive_modes(values, vectors, matrix, layout, pairs)
    root = matrix_sqrt(matrix, values, vectors)
    return 0.5 * (root.diagonal(dim1=1, dim2=2).real * layout.taken).sum(dim=1)
