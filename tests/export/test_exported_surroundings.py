"""Exported models among external charges, which compiled code does not take: the model's own parts compute them."""

import pytest
from ase.build import molecule
from test_exported import SMALL, built, not_compiled, require_equal

from eqff.errors import ModelError
from eqff.testing.structures import among_charges

STATE = {"total_charge": 0, "multiplicity": 1}
TERM = "+term@model.terms.external=external_charges"


def results(calculator, atoms):
    calculator.get_property("forces", atoms)
    return dict(calculator.results)


@pytest.mark.parametrize("model", [("model=qeq",), ("model=third_generation", TERM)], ids=["qeq", "fixed"])
def test_external_charges_act_as_on_the_model(model):
    """They come, move and go along a trajectory of one calculator; without them the code computes."""
    potential = built(*model, *SMALL)
    exported, plain = (each.calculator(**STATE) for each in (not_compiled(potential), potential))
    alone = molecule("CH3CH2OH")
    around, moved = among_charges(alone, 1), among_charges(alone, 2, count=3)
    for atoms in (alone, around, moved, alone):
        found = results(exported, atoms)
        require_equal(found, results(plain, atoms), 1e-11)
        assert ("external_forces" in found) == (atoms is not alone)


def test_charges_that_nothing_feels_are_refused():
    calculator = not_compiled(built("model=short_range", *SMALL)).calculator(**STATE)
    calculator.get_property("forces", molecule("H2O"))
    with pytest.raises(ModelError, match="feels external charges"):
        calculator.get_property("forces", among_charges(molecule("H2O"), 1))
