"""Δ-models, trained on labels minus those of a base method, with the base added again: whole energies and forces."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch
from pathlib import Path
from typing import Any

import torch

from eqff.checkpoints.metadata import ModelMetadata
from eqff.corrections import with_terms
from eqff.data.differences import whole_level
from eqff.errors import ModelError
from eqff.export.exported import ExportedPotential
from eqff.interfaces.ase import EqffCalculator, as_potential
from eqff.interfaces.calculator_energy import CalculatorEnergy
from eqff.interfaces.calculators import NamedCalculator, named_calculator
from eqff.interfaces.whole import missing_base
from eqff.parts import Term
from eqff.potential import Potential
from eqff.uncertainty.composite import Composite

BASE = "base"
"""Name of the energy term that holds the base's energy."""

_log = logging.getLogger(__name__)


class DeltaCalculator(EqffCalculator):
    """A Δ-model and its base as one ASE calculator: energies, forces and stress are the sums of both.

    ``results["energies_per_term"]["base"]`` is the part of the base. All else is as of `EqffCalculator`.
    Positions reach the base in the precision of the model; with ``dtype=torch.float64`` none is lost.

    Args:
        potential: The model, or where to find it.
        base: The base: as in a config, ``{"_target_": "tblite.ase.TBLite", "method": "GFN1-xTB"}``, which is compared
            with what the model file says; or an ASE calculator, which can't be compared: a log line says so.
        packages: Whose code may be called to make it, for example ``["tblite"]``.
        device: Of the model.
        dtype: Of the model.
        settings: Of `EqffCalculator`.

    Raises:
        ConfigError: The base can't be made.
        ModelError: It is not the model's base, or the model has none.
    """

    def __init__(
        self,
        potential: Potential | str | Path | Sequence[str | Path],
        base: Any,
        *,
        packages: Sequence[str] = (),
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        **settings: Any,
    ):
        model = as_potential(potential, device, dtype, difference=True)
        super().__init__(with_base(model, named_calculator(base, packages)), **settings)


def with_base(potential: Potential, base: NamedCalculator) -> Potential:
    """A Δ-model that gives whole energies, with its base as one more energy term.

    Args:
        potential: The model, with ``metadata`` that names its base; of an ensemble, every member gets it.
        base: The same method that was subtracted from the labels.

    Raises:
        ModelError: The model has no base, or another one.
    """
    known = missing_base(potential)
    if known is None:
        raise ModelError(
            f"{base.title} can't be added to this model: its file names no base that was subtracted from its labels, "
            "so its energies are whole. If they were subtracted elsewhere, train with that said: "
            f"'data.level_of_theory=LEVEL minus {base.title}'."
        )
    if base.name is not None and base.name != known:
        raise ModelError(
            f"The base is {base.name}, but the model was trained on labels minus {known}. Give that one, with the same "
            "settings."
        )
    if base.name is None:
        _log.warning("%s is taken for the model's base, %s: they can't be compared.", base.title, known)
    return _with_term(potential, CalculatorEnergy(base))


@singledispatch
def _with_term(potential: Potential, term: Term) -> Potential:
    whole = with_terms(potential, {BASE: term})
    whole.metadata = _at_whole_level(potential.metadata)
    return whole


@_with_term.register
def _(potential: ExportedPotential, term: Term) -> Potential:
    whole = potential.added({BASE: term})
    whole.metadata = _at_whole_level(potential.metadata)
    return whole


@_with_term.register
def _(potential: Composite, term: Term) -> Composite:
    whole = potential.with_members([_with_term(member, term) for member in potential.members])
    whole.metadata = _at_whole_level(potential.metadata)
    return whole


def _at_whole_level(metadata: ModelMetadata) -> ModelMetadata:
    """What the model file says, at the level of theory of the sum."""
    level = whole_level(metadata.model_context().level_of_theory)
    return replace(metadata, context={**metadata.context, "level_of_theory": level})
