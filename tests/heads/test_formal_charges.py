"""Charges given by element: those of the table, and totals that don't match are refused, but not for rounding."""

import numpy as np
import pytest
import torch
from ase import Atoms

from eqff.errors import ConfigError, ModelError
from eqff.heads.formal_charges import FormalCharges
from eqff.testing.graphs import graph_of


def molecules(count, dtype=torch.float32, total_charge=0):
    atoms = Atoms(np.tile([1, 6, 8], count), np.zeros((3 * count, 3)))
    atoms.info.update(total_charge=total_charge, multiplicity=1)
    return graph_of([atoms], {}, dtype)


def test_they_are_those_of_the_table():
    head = FormalCharges({"H": 0.25, 6: 0.5, "O": -0.75, "Na": 1.0}, (1, 6, 8))
    assert head(molecules(2), {})["charges"].tolist() == [0.25, 0.5, -0.75] * 2


def test_rounding_of_many_like_molecules_is_no_charge():
    """In single precision the charges of each miss their sum by 4e-8 e, always to the same side."""
    head = FormalCharges({"H": 0.1, "C": 0.6, "O": -0.7}, (1, 6, 8))
    charges = head(molecules(20_000), {})["charges"]
    assert abs(float(charges.double().sum())) > 1e-4


def test_another_total_is_refused():
    head = FormalCharges({"H": 0.1, "C": 0.2, "O": -0.301}, (1, 6, 8))
    with pytest.raises(ModelError, match=r"formal charges of structure 0 .* add up to -0\.0100 e, but .* is 0 e"):
        head(molecules(10), {})
    with pytest.raises(ModelError, match="its total charge is 2 e"):
        head(molecules(10, torch.float64, total_charge=2), {})


@pytest.mark.parametrize(
    ("charges", "message"), [({"H": 0.1, "C": 0.2}, "none given for O"), ({"H": 0, "Xx": 1}, "no element 'Xx'")]
)
def test_tables_that_can_not_be(charges, message):
    with pytest.raises(ConfigError, match=message):
        FormalCharges(charges, (1, 6, 8))
