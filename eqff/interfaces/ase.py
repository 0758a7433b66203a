"""eqff models as ASE calculators: for molecular dynamics, relaxations and everything else that ASE drives."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.outputs import Properties, all_outputs

from eqff.corrections import corrected
from eqff.data.atomic_data import AtomicData
from eqff.data.convert import Multiplicity
from eqff.data.graph import AtomicGraph
from eqff.data.solves import Predictor, solve_history
from eqff.errors import ModelError
from eqff.evaluation.states import state_name, unseen_states
from eqff.interfaces.given import Given, field_vector, require_geometry
from eqff.interfaces.graphs import MovingGraph, lasting, require_precision
from eqff.interfaces.results import MAGMOMS, TERMS, results_of, stress_of
from eqff.interfaces.skin import Pairs, SkinLists
from eqff.interfaces.snapshot import Snapshot
from eqff.outside import Outside, outside_rule
from eqff.potential import Potential

_DERIVATIVES = ("energy", "forces", "stress", "virial")


class EqffCalculator(Calculator):
    """An ASE calculator.

    Total charge and multiplicity (2S+1) come from ``atoms.info`` (``total_charge`` or ``charge``, ``multiplicity`` or
    ``spin``), or from the arguments here for all structures; nothing is guessed. ASE's initial charges and magnetic
    moments are not read.

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

    Attributes:
        neighbours: The lists; ``neighbours.searches`` counts how often pairs were searched, ``neighbours.updates``
            how often there were new positions.
        solves: Where iterative solves begin.

    Raises:
        DataError: On calculation: no atoms, positions that are not finite, a charge or multiplicity that is nowhere
            given or impossible.
        ModelError: On calculation: an element that the model does not cover; a refused state (``outside``); charge,
            multiplicity or field given here and, with another value, in ``info``; a field that no part of the model
            reads, or along a lattice vector.
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
    ):
        self._last: Snapshot | None = None
        super().__init__()
        self.potential = _as_potential(potential, device, dtype)
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
        self.neighbours = SkinLists(self.potential.neighbour_lists, skin)
        self.solves = solve_history(warm_start)
        self._pairs: dict[str, Pairs] = {}
        self._settled: tuple[Any, MovingGraph] | None = None
        self._first_weight: tuple[Potential, torch.Tensor] | None = None
        self._computed: tuple[Any, ...] | None = None
        self._warned: set[tuple[int, int]] = set()

    @property
    def atoms(self) -> Atoms | None:
        """The atoms of the last calculation, as they were then."""
        return None if self._last is None else self._last.atoms

    @atoms.setter
    def atoms(self, atoms: Atoms | None) -> None:
        self._last = None if atoms is None else Snapshot(atoms)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation, ``"state"`` for total charge and multiplicity."""
        if self._last is None:
            return list(super().check_state(atoms, tol))
        changes = self._last.changes(atoms)
        return changes if self._said(atoms) == self._computed else [*changes, "state"]

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
        prediction = self.potential(self._graph(atoms, said), forces=True, stress=stress, create_graph=False)
        fields = (*self.fields, *self.potential.uncertainties)
        self.results = results_of(prediction, tuple(self.potential.terms), fields)
        if stress:
            self.results["stress"] = stress_of(prediction["virial"][0], atoms)
        self._computed = said

    def shortest_distance(self) -> tuple[float, int, int]:
        """Of the last calculation: the shortest distance in Å, images included, and its two atoms.

        Infinite where no two atoms are within a cutoff, or where the model has no neighbour list.
        """
        lists = [pairs for pairs in self._pairs.values() if len(pairs.lengths)]
        if not lists:
            return float("inf"), 0, 0
        pairs = min(lists, key=lambda pairs: pairs.lengths.min())
        closest = int(pairs.lengths.argmin())
        return float(pairs.lengths[closest]), int(pairs.receiver[closest]), int(pairs.sender[closest])

    def structure(self, atoms: Atoms) -> AtomicData:
        """What the model is given for ``atoms``, total charge and multiplicity settled and checked."""
        data = self._given.structure(atoms)
        self._check_range(data)
        return data

    def export_properties(self) -> Properties:
        """Those of the results that ASE has a name for."""
        return Properties({name: value for name, value in self.results.items() if name in all_outputs})

    @property
    def _given(self) -> Given:
        field = self.electric_field  # who assigns an array or a list may go on changing it
        return Given(self.total_charge, self.multiplicity, None if field is None else tuple(map(float, field)))

    def _said(self, atoms: Atoms) -> tuple[Any, ...]:
        return self._given.said(atoms.info)

    def _where(self) -> tuple[torch.dtype, torch.device]:
        """Precision and device of the model, which may be moved between calculations."""
        if self._first_weight is None or self._first_weight[0] is not self.potential:
            # a weight stays the same object wherever it is moved
            self._first_weight = self.potential, next(self.potential.parameters(), None)
        weight = self._first_weight[1]
        if weight is None:
            return self.potential.dtype, next(self.potential.buffers()).device
        return weight.dtype, weight.device

    def _graph(self, atoms: Atoms, said: tuple[Any, ...]) -> AtomicGraph:
        """The graph of one structure; what only elements, periodicity and state decide is kept between steps."""
        where, pbc = self._where(), atoms.pbc
        key = (atoms.numbers.tobytes(), pbc.tobytes(), said, where)
        if self._settled is None or self._settled[0] != key:
            graph = lasting(self.structure(atoms), *where)
            self._settled = key, MovingGraph(replace(graph, solves=self.solves))
        require_geometry(atoms)
        positions = atoms.positions
        cell = atoms.cell.array if pbc.any() else np.zeros((3, 3))  # the box around a molecule means nothing
        self._pairs = self.neighbours(positions, cell, pbc)
        self.solves.begin(positions, cell, key)
        return self._settled[1](positions, cell, self._pairs)

    def _check_range(self, data: AtomicData) -> None:
        training = self.potential.metadata.training if self.potential.metadata else {}
        for state in unseen_states([data], training) if self.outside != "allow" else ():
            seen = ", ".join(state_name((row["total_charge"], row["multiplicity"])) for row in training["states"])
            text = f"The model was not trained on the state {state_name(state)}, only on {seen}"
            if self.outside == "refuse":
                raise ModelError(f'{text}. Take another model, or extrapolate: model.calculator(outside="warn").')
            if state not in self._warned:
                self._warned.add(state)
                warnings.warn(f"{text}: extrapolating.", stacklevel=4)


def _as_potential(
    potential: Potential | str | Path | Sequence[str | Path],
    device: str | torch.device | None,
    dtype: torch.dtype | None,
) -> Potential:
    if not isinstance(potential, torch.nn.Module):
        from eqff.uncertainty.loading import load

        potential = load(potential, dtype=dtype)
    return potential.to(device=device, dtype=dtype).eval()
