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
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.outputs import Properties, all_outputs
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from eqff.corrections import corrected
from eqff.data import fields as table
from eqff.data.atomic_data import AtomicData
from eqff.data.atoms import from_atoms
from eqff.data.convert import Multiplicity
from eqff.data.graph import AtomicGraph
from eqff.data.solves import Predictor, solve_history
from eqff.errors import DataError, ModelError
from eqff.evaluation.states import state_name, unseen_states
from eqff.interfaces.graphs import lasting, moved
from eqff.interfaces.skin import Pairs, SkinLists
from eqff.interfaces.state import STATE, require_state, stated, surroundings
from eqff.outside import Outside, outside_rule
from eqff.potential import Potential

TERMS = "energies_per_term"
_DERIVATIVES = ("energy", "forces", "stress", "virial")
_MAGMOMS = "magmoms"
_WATCHED = ("positions", "numbers", "cell", "pbc")
_REMEDY = (
    "Say it on the structure, atoms.info.update(total_charge=0, multiplicity=1), or for all structures, "
    "model.calculator(total_charge=0, multiplicity=1)"
)


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
            results depend on the atoms alone; "last", "linear", "quadratic" or "always_stable" (`eqff.data.solves`) at
            what the solutions of the last steps predict, which saves iterations along a trajectory and changes results
            by no more than the solvers' tolerance.
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
        super().__init__()
        self.potential = _as_potential(potential, device, dtype)
        if corrections:
            self.potential = corrected(self.potential)
        self.outside = outside_rule(self.potential, outside)
        self.total_charge = total_charge
        self.multiplicity = multiplicity
        self.electric_field = None if electric_field is None else _field(electric_field)
        self.fields = tuple(name for name in self.potential.predicts if name not in _DERIVATIVES)
        self.implemented_properties = ["energy", "free_energy", "forces", "stress", TERMS, *self.fields]
        self.implemented_properties += self.potential.uncertainties
        if "spin_charges" in self.fields:
            self.implemented_properties.append(_MAGMOMS)
        self.with_stress = with_stress
        self.neighbours = SkinLists(self.potential.neighbour_lists, skin)
        self.solves = solve_history(warm_start)
        self._pairs: dict[str, Pairs] = {}
        self._settled: tuple[Any, AtomicGraph] | None = None
        self._computed: tuple[Any, ...] | None = None
        self._warned: set[tuple[int, int]] = set()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation, ``"state"`` for total charge and multiplicity."""
        if self.atoms is None:
            return list(super().check_state(atoms, tol))
        # ASE's own comparison takes longer than all else that an MD step of a small molecule needs beside the model
        changes = [name for name in _WATCHED if not np.array_equal(getattr(atoms, name), getattr(self.atoms, name))]
        return changes if self._stated(atoms) == self._computed else [*changes, "state"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fills ``results``."""
        super().calculate(atoms, properties, system_changes)
        stress = "stress" in properties or (self.with_stress and self.atoms.cell.rank == 3)
        graph = self._graph(self.atoms)
        prediction = self.potential(graph, forces=True, stress=stress, create_graph=False)
        self.results = self._results(prediction)
        if stress:
            self.results["stress"] = self._stress(prediction["virial"][0])
        self._computed = self._stated(self.atoms)

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
        _require_geometry(atoms)
        info = stated(atoms.info)
        require_state(info, self.total_charge, self.multiplicity, "the structure", _REMEDY)
        info |= self._surroundings(atoms)
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=info)
        data = from_atoms(bare, total_charge=self.total_charge, multiplicity=self.multiplicity, labels=())
        for name, given in zip(STATE, (self.total_charge, self.multiplicity), strict=True):
            if given is not None and given != "lowest" and float(given) != float(data[name]):
                raise ModelError(
                    f"The calculator was given {name}={given}, but atoms.info says {float(data[name]):g}. Give it in "
                    "one place only."
                )
        self._check_range(data)
        return data

    def export_properties(self) -> Properties:
        """Those of the results that ASE has a name for."""
        return Properties({name: value for name, value in self.results.items() if name in all_outputs})

    @property
    def _device(self) -> torch.device:
        return next(self.potential.buffers()).device

    def _stated(self, atoms: Atoms) -> tuple[Any, ...]:
        """All that is said about charge, spin and an external field, to notice when it changes."""
        said = stated(atoms.info) | surroundings(atoms.info)
        # all digits: how arrays are printed is the user's to choose
        info = tuple(sorted((key, str(np.asarray(value).tolist())) for key, value in said.items()))
        return (*info, self.total_charge, self.multiplicity, self.electric_field)

    def _surroundings(self, atoms: Atoms) -> dict[str, Any]:
        """What the structure says about an external field, else the calculator."""
        own = surroundings(atoms.info)
        if self.electric_field is None:
            return own
        for key, value in own.items():
            if not np.array_equal(np.ravel(value), self.electric_field):
                raise ModelError(
                    f"The calculator was given electric_field={list(self.electric_field)}, but atoms.info['{key}'] is "
                    f"{np.ravel(value).tolist()}. Give it in one place only."
                )
        return {"electric_field": self.electric_field}

    def _graph(self, atoms: Atoms) -> AtomicGraph:
        """The graph of one structure; what only elements, periodicity and state decide is kept between steps."""
        where = self.potential.dtype, self._device
        key = (atoms.numbers.tobytes(), atoms.pbc.tobytes(), self._stated(atoms), where)
        if self._settled is None or self._settled[0] != key:
            self._settled = key, replace(lasting(self.structure(atoms), *where), solves=self.solves)
        _require_geometry(atoms)
        positions, pbc = atoms.positions, atoms.pbc
        cell = atoms.cell.array if pbc.any() else np.zeros((3, 3))  # the box around a molecule means nothing
        self._pairs = self.neighbours(positions, cell, pbc)
        self.solves.begin(positions, cell, key)
        return moved(self._settled[1], positions, cell, self._pairs)

    def _results(self, prediction: dict[str, Tensor]) -> dict[str, Any]:
        energy = float(prediction["energy"])
        results: dict[str, Any] = {"energy": energy, "free_energy": energy, "forces": _array(prediction["forces"])}
        results[TERMS] = {name: float(prediction[f"energy_{name}"]) for name in self.potential.terms}
        for name in (*self.fields, *self.potential.uncertainties):
            value = _array(prediction[name])
            results[name] = value if table.field(name).level == "atom" else value[0]
        if _MAGMOMS in self.implemented_properties:
            results[_MAGMOMS] = results["spin_charges"]
        return results

    def _stress(self, virial: Tensor) -> np.ndarray:
        """ASE's stress in Voigt order, eV/Å³: per volume of the whole cell, vacuum of a slab included."""
        if self.atoms.cell.rank < 3:
            raise PropertyNotImplementedError(
                "Stress is energy per volume, and a cell with fewer than three lattice vectors has none. Give the "
                "atoms a cell (for a slab or wire, with the vacuum that you want to count), or ask for no stress."
            )
        return full_3x3_to_voigt_6_stress(-_array(virial) / self.atoms.cell.volume)

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


def _field(value: Any) -> tuple[float, ...]:
    """Three finite numbers, in V/Å; raises ModelError for anything else."""
    array = np.asarray(value, dtype=float)
    if array.shape != (3,) or not np.isfinite(array).all():
        raise ModelError(f"electric_field is {value!r}, but needs three finite numbers in V/Å, such as [0, 0, 0.1].")
    return tuple(array.tolist())


def _require_geometry(atoms: Atoms) -> None:
    """Raises DataError where there is nothing to compute, or no numbers to compute with."""
    if len(atoms) == 0:
        raise DataError("The structure has no atoms: there is nothing to compute.")
    for name, values in (("position", atoms.positions), ("cell", atoms.cell.array)):
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad) and name == "position":
            first = int(bad[0])
            raise DataError(
                f"The position of atom {first} ({atoms[first].symbol}) is {values[first].tolist()}, and {len(bad)} of "
                f"{len(atoms)} atoms have positions that are not finite numbers. What moved them went wrong before."
            )
        if len(bad):
            raise DataError(f"The cell {values.tolist()} holds numbers that are not finite.")


def _array(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()
