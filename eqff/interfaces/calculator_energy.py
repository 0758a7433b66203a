"""Any ASE calculator as an energy term, so that it is evaluated, simulated and added to models as eqff's own are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.data import chemical_symbols
from ase.stress import voigt_6_to_full_3x3_stress
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from eqff.data import fields as table
from eqff.data.graph import FRAGMENTS, AtomicGraph
from eqff.errors import ModelError
from eqff.interfaces.calculators import NamedCalculator, default_dtype, state_settings
from eqff.interfaces.state import STATE
from eqff.parts import Fields, Term
from eqff.potential import Potential

NAME = "calculator"
"""Of the term, where it is all that a potential consists of."""

_FIELDS = {"charges": "charges", "dipole": "dipole", "spin_charges": "magmoms"}
"""Fields that ASE's calculators may give beside energy and forces, and their names there."""

_SHAPES = {"energy": lambda atoms: (), "forces": lambda atoms: (atoms, 3), "stress": lambda atoms: (6,)}
"""Of what calculators give for so many atoms; some wrap one energy into an array."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Answer:
    """Of one structure with N atoms: energy in eV, its derivatives by positions (N, 3) and by lattice vectors (3, 3)
    in eV/Å, and other fields."""

    energy: float
    by_positions: np.ndarray
    by_cell: np.ndarray
    fields: dict[str, np.ndarray]


class CalculatorEnergy(Term):
    """The energy of an ASE calculator, with its forces and stress as first derivatives.

    Structures are handed over one by one, as calculators take them. Total charge and multiplicity go to the settings
    that the calculator has for them (``charge``, ``multiplicity``; see `eqff.interfaces.calculators.state_settings`)
    and to ``atoms.info`` (``charge``, ``total_charge``; ``spin`` and ``multiplicity``, both 2S+1), where some look. The
    energy is ASE's "energy", which for metals with smeared occupations is not quite the one whose derivative the forces
    are.

    It holds a foreign object, so no config or model file can name it, and it has no second derivatives: models aren't
    trained with it (docs/delta_learning.md says how they are trained on what it leaves).

    Args:
        given: The calculator.
        fields: Whether its charges, dipole and magnetic moments (as spin charges) are given too, where it has them.
    """

    level = "structure"
    compiles = False

    def __init__(self, given: NamedCalculator, *, fields: bool = False):
        super().__init__()
        self.given = given
        self.state = state_settings(given.calculator)
        self.reads = ("numbers", "positions", *self.state)
        known = given.calculator.implemented_properties
        self.writes = tuple(name for name, theirs in _FIELDS.items() if theirs in known) if fields else ()
        # what a potential without other weights computes in: calculators take double precision
        self.precision = nn.Parameter(torch.zeros((), dtype=torch.float64), requires_grad=False)
        self._told: dict[str, int] | None = None
        self._warned = False

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (B,), float64.

        Raises:
            ModelError: The calculator fails, or lacks a property that is needed; the model is being trained; or a
                structure is in an electric field or among external charges.
        """
        self._require_alone(graph)
        if self.training:
            raise ModelError(
                f"{self.given.title} can't be trained with, as it has no second derivatives: train on what it leaves, "
                "python -m eqff.delta (docs/delta_learning.md)."
            )
        forces, stress = graph.positions.requires_grad, graph.cell.requires_grad
        answers = [self._answer(atoms, forces, stress) for atoms in structures(graph)]
        like = graph.positions
        energy = torch.tensor([a.energy for a in answers], dtype=torch.float64, device=like.device)
        by_positions = torch.from_numpy(np.concatenate([a.by_positions for a in answers])).to(like)
        by_cell = torch.from_numpy(np.stack([a.by_cell for a in answers])).to(like)
        if forces or stress:
            energy = _Known.apply(graph.positions, graph.cell, energy, by_positions, by_cell, graph.batch)
        return {"energy": energy} | {name: self._column(name, answers, like) for name in self.writes}

    def _require_alone(self, graph: AtomicGraph) -> None:
        """Raises ModelError in surroundings that calculators are not told of; beside a model, that model may be."""
        if graph.external is not None or bool(graph.electric_field.any()):
            raise ModelError(
                f"{self.given.title} is not told of electric fields and external charges, so its share of the energy "
                "would be that without them. Leave them out, or take a model that is whole without it."
            )

    def _column(self, name: str, answers: list[_Answer], like: Tensor) -> Tensor:
        values = [answer.fields[name] for answer in answers]
        joined = np.concatenate(values) if table.field(name).level == "atom" else np.stack(values)
        return torch.from_numpy(joined).to(like)

    def _answer(self, atoms: Atoms, forces: bool, stress: bool) -> _Answer:
        """What the calculator says about one structure; what is not asked for is zero."""
        periodic = bool(atoms.pbc.any())
        if periodic and stress and atoms.cell.rank < 3:
            raise ModelError(f"{_place(atoms)}: stress needs three lattice vectors; it has {atoms.cell.rank}.")
        # the most expensive first: calculators keep what they computed on the way
        names = [*(["stress"] if periodic and stress else []), *(["forces"] if forces else []), "energy"]
        with default_dtype(self.given.dtype), torch.enable_grad():
            self._tell_state(atoms)
            found = {name: self._required(name, atoms) for name in names}
            others = {name: self._optional(name, atoms) for name in self.writes}
        gradient = -found["forces"] if forces else np.zeros((len(atoms), 3))
        by_cell = np.zeros((3, 3))
        if periodic and stress:
            by_cell = _by_cell(atoms, gradient, voigt_6_to_full_3x3_stress(found["stress"]))
        return _Answer(found["energy"].item(), gradient, by_cell, others)

    def _tell_state(self, atoms: Atoms) -> None:
        """Total charge and multiplicity to the calculator; one that reads them elsewhere must not keep old results."""
        values = {name: atoms.info[name] for name in STATE}
        if values == self._told and self._still_told(values):
            return
        if hasattr(self.given.calculator, "reset"):
            self.given.calculator.reset()
        if self.state:
            self.given.calculator.set(**{theirs: values[name] for name, theirs in self.state.items()})
        self._told = values
        if not self._warned and tuple(values.values()) != (0, 1) and len(self.state) < len(values):
            self._warned = True
            _log.warning(
                "%s has no setting for %s: structures such as %s state it in atoms.info alone, which it may not read.",
                self.given.title,
                " and ".join(name.replace("_", " ") for name in values if name not in self.state),
                _place(atoms),
            )

    def _still_told(self, values: dict[str, int]) -> bool:
        """Whether nobody has told the calculator of another state since: it may serve elsewhere too."""
        parameters = getattr(self.given.calculator, "parameters", None) or {}
        if any(parameters.get(theirs, values[name]) != values[name] for name, theirs in self.state.items()):
            return False
        last = getattr(self.given.calculator, "atoms", None)
        if last is None or len(self.state) == len(values):  # or it reads settings alone
            return True
        return all(getattr(last, "info", values).get(name) == value for name, value in values.items())

    def _required(self, name: str, atoms: Atoms) -> np.ndarray:
        try:
            value = self.given.calculator.get_property(name, atoms)
        except PropertyNotImplementedError as error:
            raise ModelError(
                f"{self.given.title} gives no {name} for {_place(atoms)}. Leave such structures out, or ask for other "
                "labels: data.labels=[energy,forces]."
            ) from error
        except Exception as error:  # calculators raise anything, and all of it is about this structure
            raise ModelError(
                f"{self.given.title} failed on {_place(atoms)}: {type(error).__name__}: {error}. Leave the structure "
                "out, or change the calculator's settings."
            ) from error
        shape = _SHAPES[name](len(atoms))
        if value is None or not np.isfinite(value).all() or np.size(value) != np.prod(shape, dtype=int):
            raise ModelError(
                f"{self.given.title} gives {name} for {_place(atoms)} that are no finite numbers of shape {shape}."
            )
        return np.asarray(value, dtype=np.float64).reshape(shape)

    def _optional(self, name: str, atoms: Atoms) -> np.ndarray:
        """A field of one structure, NaN where there is none (as a dipole of a crystal)."""
        row = table.field(name)
        shape = ((len(atoms),) if row.level == "atom" else ()) + row.shape
        try:
            value = self.given.calculator.get_property(_FIELDS[name], atoms)
        except PropertyNotImplementedError:
            value = None
        return np.full(shape, np.nan) if value is None else np.asarray(value, dtype=np.float64).reshape(shape)


class _Known(torch.autograd.Function):
    """Energies (B,) of which the derivatives are known already."""

    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, cell: Tensor, energy: Tensor, by_positions: Tensor, by_cell: Tensor, batch: Tensor
    ) -> Tensor:
        """The energies themselves."""
        ctx.save_for_backward(by_positions, by_cell, batch)
        return energy.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        """By positions and lattice vectors."""
        by_positions, by_cell, batch = ctx.saved_tensors
        given = given.to(by_positions)
        return given[batch, None] * by_positions, given[:, None, None] * by_cell, None, None, None, None


def calculator_potential(given: NamedCalculator) -> Potential:
    """A potential that is nothing but an ASE calculator, for any element.

    Args:
        given: The calculator.
    """
    elements = tuple(range(1, len(chemical_symbols)))
    return Potential(None, {NAME: CalculatorEnergy(given, fields=True)}, elements=elements).eval()


def structures(graph: AtomicGraph) -> Iterator[Atoms]:
    """The structures of a batch for ASE, with their charge and spin state in ``info``, and fragments where stated."""
    sizes = torch.bincount(graph.batch, minlength=graph.num_structures).tolist()
    numbers = torch.split(graph.numbers.cpu(), sizes)
    positions = torch.split(graph.positions.detach().cpu().double(), sizes)
    cells, periodic = graph.cell.detach().cpu().double().numpy(), graph.pbc.cpu().numpy()
    charges, spins = graph.total_charge.tolist(), graph.multiplicity.tolist()
    own = {name: value for name in FRAGMENTS if (value := getattr(graph, name)) is not None}
    stated = {name: value for name, value in own.items() if bool((value != table.field(name).default).any())}
    arrays = {name: torch.split(value.cpu(), sizes) for name, value in stated.items()}
    for index in range(graph.num_structures):
        charge, spin = round(charges[index]), round(spins[index])
        atoms = Atoms(
            numbers[index].numpy(),
            positions[index].numpy(),
            cell=cells[index],
            pbc=periodic[index],
            info={"total_charge": charge, "charge": charge, "multiplicity": spin, "spin": spin},
        )
        for name, parts in arrays.items():
            atoms.set_array(name, parts[index].numpy())
        yield atoms


def _by_cell(atoms: Atoms, gradient: np.ndarray, stress: np.ndarray) -> np.ndarray:
    """The derivative by lattice vectors (3, 3) with which a strain of positions and cell has that of the stress.

    A strain ε moves positions r to r (1 + ε) and lattice vectors c likewise, so that dE/dε = rᵀ dE/dr + cᵀ dE/dc, which
    is V σ.
    """
    cell = atoms.cell.array
    return np.linalg.solve(cell.T, atoms.cell.volume * stress - atoms.positions.T @ gradient)


def _place(atoms: Atoms) -> str:
    charge, spin = atoms.info["total_charge"], atoms.info["multiplicity"]
    return f"{atoms.get_chemical_formula()} (total charge {charge:+d}, multiplicity {spin})"
