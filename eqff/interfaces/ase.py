"""eqff models as ASE calculators: for molecular dynamics, relaxations and everything else that ASE drives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.outputs import Properties, all_outputs

from eqff.corrections import corrected
from eqff.data.atomic_data import AtomicData
from eqff.data.convert import Multiplicity
from eqff.data.solves import ColdStarts, Predictor, solve_history
from eqff.interfaces.given import Given, field_vector, fragments_said
from eqff.interfaces.graphs import require_precision
from eqff.interfaces.inputs import Inputs
from eqff.interfaces.results import MAGMOMS, TERMS, results_of, stress_of
from eqff.interfaces.skin import SkinLists
from eqff.interfaces.snapshot import Snapshot
from eqff.interfaces.unseen import UnseenStates
from eqff.interfaces.whole import require_whole
from eqff.outside import Outside, outside_rule
from eqff.potential import Potential

_DERIVATIVES = ("energy", "forces", "stress", "virial")


class EqffCalculator(Calculator):
    """An ASE calculator.

    Total charge and multiplicity (2S+1) come from ``atoms.info`` (``total_charge`` or ``charge``, ``multiplicity`` or
    ``spin``), or from the arguments here for all structures; nothing is guessed. ASE's initial charges and magnetic
    moments are not read. External charges around the atoms are stated in ``info`` as well (``external_positions``,
    ``external_charges``); then ``results`` has ``external_forces`` and ``potential_at_external`` too.

    ``implemented_properties`` depends on the model: energy, free_energy (the same), forces and stress; charges, dipole
    and every other field it predicts; spin charges also as ``magmoms``, their name in ASE; and ``energies_per_term``, a
    dict of the energy of each term in eV. Models with uncertainties (see `eqff.uncertainty`) give
    ``energy_uncertainty`` in eV and ``forces_uncertainty`` (N,) in eV/Å, of a force's components. Each calculation
    gives all of these at once, stress on demand.

    Args:
        potential: A model, which is moved where the other arguments say, or where to find one (see `eqff.load`); a list
            makes an ensemble.
        total_charge: e.
        multiplicity: 2S+1, or "lowest": the lowest that the electron count allows, where ``info`` gives none.
        electric_field: Uniform external field in V/Å, (3,), for all structures; it can also be stated in ``info``, as
            ``electric_field``. None and nowhere stated for no field.
        device: Where to compute; by default where the potential is.
        dtype: Precision; by default that of the potential.
        skin: Å beyond the cutoffs within which pairs are searched, so that a search serves several steps; results don't
            depend on it. 0 searches whenever something moved, but for small molecules (`eqff.interfaces.skin.FEW`).
        with_stress: Whether every calculation gives the stress too where atoms have three lattice vectors, for
            barostats and relaxations of the cell, which ask for it at each geometry after the forces.
        corrections: Whether energy terms that the model was not trained with (``model.corrections``, as dispersion that
            labels lack) are added.
        warm_start: How iterative solves of charges and induced dipoles begin: by default (None) at nothing, so that
            results depend on the atoms alone; "last", "linear", "quadratic", "always_stable" or "fitted"
            (`eqff.data.solves`) at what the solutions of the last steps predict, which saves iterations along a
            trajectory and changes results by no more than the solvers' tolerance.
        outside: What happens on a charge and spin state that training had not: "warn" says so once for each, "refuse"
            raises, "allow" does neither; by default the model's own rule, "warn" if it has none. Unknown elements are
            always refused.
        difference: Whether a model that was trained on labels minus those of a base method (docs/delta_learning.md)
            may be used without it, for the differences.

    Attributes:
        neighbours: The lists; ``neighbours.searches`` counts how often pairs were searched, ``neighbours.updates``
            how often there were new positions.
        solves: Where iterative solves begin.

    Raises:
        DataError: On calculation: no atoms, positions that are not finite, two atoms that lie on each other, a charge
            or multiplicity that is nowhere given or impossible.
        ModelError: On calculation: an element that the model does not cover; a refused state (``outside``); charge,
            multiplicity or field given here and, with another value, in ``info``; a field that no energy of the model
            follows from, or along a lattice vector. When it is made: the model gives differences to a base
            (``difference``).
        PropertyNotImplementedError: On asking for the stress of atoms without three lattice vectors.
    """

    # what is never read can't make a result stale
    ignored_changes = {"initial_charges", "initial_magmoms"}

    def __init__(
        self,
        potential: Potential | str | Path | Sequence[str | Path],
        *,
        total_charge: float | None = None,
        multiplicity: Multiplicity | None = None,
        electric_field: Sequence[float] | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        skin: float = 0.5,
        with_stress: bool = False,
        corrections: bool = True,
        warm_start: Predictor | None = None,
        outside: Outside | None = None,
        difference: bool = False,
    ):
        self._last: Snapshot | None = None
        super().__init__()
        self.potential = as_potential(potential, device, dtype, difference=difference)
        require_precision(self.potential.dtype)
        if corrections:
            self.potential = corrected(self.potential)
        self.outside = outside_rule(self.potential, outside)
        self.total_charge = total_charge
        self.multiplicity = multiplicity
        self.electric_field = None if electric_field is None else field_vector(electric_field)
        self.fields = tuple(name for name in self.potential.predicts if name not in _DERIVATIVES)
        self.implemented_properties = ["energy", "free_energy", "forces", "stress", TERMS, *self.fields]
        self.implemented_properties += self.potential.uncertainties
        if "spin_charges" in self.fields:
            self.implemented_properties.append(MAGMOMS)
        self.with_stress = with_stress
        self._terms = tuple(self.potential.terms)
        self._inputs = Inputs(SkinLists(self.potential.neighbour_lists, skin), solve_history(warm_start))
        self._computed: tuple[Any, ...] | None = None
        self._unseen = UnseenStates()

    @property
    def neighbours(self) -> SkinLists:
        """The lists."""
        return self._inputs.neighbours

    @property
    def solves(self) -> ColdStarts:
        """Where iterative solves begin."""
        return self._inputs.solves

    @property
    def atoms(self) -> Atoms | None:
        """The atoms of the last calculation, as they were then."""
        return None if self._last is None else self._last.atoms

    @atoms.setter
    def atoms(self, atoms: Atoms | None) -> None:
        self._last = None if atoms is None else Snapshot(atoms)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation; if nothing else has, ``"state"`` for charge, spin and field."""
        if self._last is None:
            return list(super().check_state(atoms, tol))
        changes = self._last.changes(atoms)
        return changes or ([] if self._said(atoms) == self._computed else ["state"])

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fills ``results``."""
        # ASE's own looks for a directory besides, of which there is none here
        if atoms is None:
            atoms = self.atoms
        self.atoms, self.results = atoms, {}  # where this fails, nothing of before stands for these atoms
        stress = "stress" in properties or (self.with_stress and atoms.cell.rank == 3)
        said = self._said(atoms)
        graph = self._inputs(self.potential, atoms, self._last, said, self.structure)
        prediction = self.potential(graph, forces=True, stress=stress, create_graph=False)
        self.results = results_of(prediction, self._terms, (*self.fields, *self.potential.uncertainties))
        if stress:
            self.results["stress"] = stress_of(prediction["virial"][0], atoms)
        self._computed = said

    def shortest_distance(self) -> tuple[float, int, int]:
        """Of the last calculation: the shortest distance in Å, images included, and its two atoms.

        Infinite where no two atoms are within a cutoff, or where the model has no neighbour list.
        """
        return self._inputs.shortest_distance()

    def structure(self, atoms: Atoms) -> AtomicData:
        """What the model is given for ``atoms``, total charge and multiplicity settled and checked."""
        data = self._given.structure(atoms)
        self._unseen.check(data, self.potential, self.outside)
        return data

    def export_properties(self) -> Properties:
        """Those of the results that ASE has a name for."""
        return Properties({name: value for name, value in self.results.items() if name in all_outputs})

    @property
    def _given(self) -> Given:
        field = self.electric_field  # who assigns an array or a list may go on changing it
        return Given(self.total_charge, self.multiplicity, None if field is None else tuple(map(float, field)))

    def _said(self, atoms: Atoms) -> tuple[Any, ...]:
        if atoms.info or self.electric_field is not None:
            said = self._given.said(atoms.info)
        else:  # the same, in a fraction of the time
            said = self.total_charge, self.multiplicity, None
        own = fragments_said(atoms.arrays)
        return (*said, *own.items()) if own else said


def as_potential(
    potential: Potential | str | Path | Sequence[str | Path],
    device: str | torch.device | None,
    dtype: torch.dtype | None,
    *,
    difference: bool = False,
) -> Potential:
    """A model from a file, a name or an object, moved where it is wanted.

    Args:
        potential: See `EqffCalculator`.
        device: None for where it is.
        dtype: None for its own.
        difference: Whether a model that gives differences to a base may be used as it is.

    Raises:
        ModelError: It can't be loaded, or gives differences to a base.
    """
    if not isinstance(potential, torch.nn.Module):
        from eqff.uncertainty.loading import load

        potential = load(potential, dtype=dtype)
    if not difference:
        require_whole(potential)
    return potential.to(device=device, dtype=dtype).eval()
