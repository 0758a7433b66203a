"""Heads for polarizabilities of atoms and molecules: the battery, positivity, and the uniform field they answer."""

from __future__ import annotations

import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError, ModelError
from eqff.heads.molecular_polarizability import MolecularPolarizability
from eqff.heads.polarizabilities import Polarizabilities, TabulatedPolarizabilities
from eqff.longrange.induction.modes import Mutual
from eqff.longrange.induction.mutual import InductionSolver
from eqff.longrange.induction.response import atomic_response
from eqff.nn.reduce import segment_sum
from eqff.testing.battery import LOCAL_ENERGY, MINIMAL_BACKBONE, HeadBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule, slab
from eqff.units import COULOMB_CONSTANT

ATOMS = {
    "_target_": "eqff.heads.polarizabilities.Polarizabilities",
    "hidden": 4,
    "start": {1: 0.4, 6: 1.0, 7: 0.8, 8: 0.7},
}
ELEMENTS = torch.tensor([1, 6, 7, 8])
MOLECULE = "eqff.heads.molecular_polarizability.MolecularPolarizability"


class TestPolarizabilities(HeadBattery):
    head = ATOMS


class TestInteractingMolecules(HeadBattery):
    heads = {"atoms": ATOMS | {"largest": 2.0}}  # so that at this accuracy damping ends within the cutoff
    head = {"_target_": MOLECULE, "cutoff": 6.0, "accuracy": 1e-12}


def features(count: int, scale: float, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = scale * torch.randn(count, 9, 4, generator=generator)
    return {"features": draw, "pass_scalars": draw[:, None, 0]}


def graph(structures) -> AtomicGraph:
    return graph_of(structures, MolecularPolarizability(cutoff=5.0).neighbour_lists, torch.float64)


def test_it_starts_at_the_table():
    head = Polarizabilities(4, 1, (1, 6, 7, 8), start={"H": 0.496, "O": 0.837})
    atoms = graph([molecule(1, 8)])
    found = head(atoms, features(8, 1.0))["atomic_polarizabilities"]
    table = torch.tensor([0.496, 1.7782, 1.0966, 0.837])[torch.bucketize(atoms.numbers, ELEMENTS)]
    expected = table[:, None, None] * torch.eye(3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_it_is_positive_and_bounded_whatever_is_read(scale):
    head = Polarizabilities(4, 1, (1, 6, 7, 8), hidden=0, start={z: 1.0 for z in (1, 6, 7, 8)}, largest_factor=2.0)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    found = head(graph([molecule(1, 30)]), features(30, scale))["atomic_polarizabilities"]
    torch.testing.assert_close(found, found.transpose(1, 2))
    eigenvalues = torch.linalg.eigvalsh(found.detach())
    assert float(eigenvalues.min()) > 0.5 * 0.59**2 and float(eigenvalues.max()) < 2.0 * 1.41**2
    if scale == 1.0:
        assert float((eigenvalues[:, 2] / eigenvalues[:, 0]).max()) > 1.5


def test_tables():
    head = TabulatedPolarizabilities({"H": 0.5, "C": 0.0, "N": 1.0, 8: 0.8}, (1, 6, 7, 8))
    found = head(graph([molecule(1, 8)]), {})["atomic_polarizabilities"]
    expected = torch.tensor([0.5, 0.0, 1.0, 0.8])[torch.bucketize(graph([molecule(1, 8)]).numbers, ELEMENTS)]
    assert torch.equal(found, torch.diag_embed(expected[:, None].expand(-1, 3)))
    with pytest.raises(ConfigError, match="zero or above"):
        TabulatedPolarizabilities({"H": -0.5}, (1,))
    with pytest.raises(ConfigError, match="not all above 0"):
        Polarizabilities(4, 1, (1,), start={"H": 0.0})
    with pytest.raises(ConfigError, match="none given for O"):
        TabulatedPolarizabilities({"H": 0.5}, (1, 8))


def test_it_stays_below_the_largest():
    head = Polarizabilities(4, 1, (1, 6, 7, 8), hidden=0, start={z: 1.0 for z in (1, 6, 7, 8)}, largest=1.3)
    for parameter in head.parameters():
        torch.nn.init.constant_(parameter, 1e3)
    found = head(graph([molecule(1, 30)]), features(30, 1e6))["atomic_polarizabilities"]
    largest = float(found.detach().diagonal(dim1=1, dim2=2).mean(dim=1).max())
    assert 1.2 < largest < 1.3 * (1 + 1e-5) and head.bounds["atomic_polarizabilities"] == pytest.approx(1.3)
    with pytest.raises(ConfigError, match="start above: O 2"):
        Polarizabilities(4, 1, (8,), start={"O": 2.0}, largest=2.0)


@pytest.mark.parametrize(
    "answer",
    [
        {"heads": {}, "terms": {"induction": {"_target_": "eqff.terms.induction.Induction", "charges": None}}},
        {"heads": {"molecule": {"_target_": MOLECULE}}, "terms": {}},
    ],
    ids=["induction", "molecules"],
)
def test_a_periodic_training_is_refused_before_damping_reaches_too_far(answer):
    """At its first step, though no polarizability is large yet; open structures may be trained on."""

    def potential(**settings):
        heads = {"atoms": {**ATOMS, **settings}, **answer["heads"]}
        config = {"backbone": MINIMAL_BACKBONE, "heads": heads, "terms": {"local": LOCAL_ENERGY, **answer["terms"]}}
        return build_potential(config, ModelContext((1, 6, 7, 8), dict.fromkeys((1, 6, 7, 8), 0.0), 1.0, 10.0))

    def run(model, structure):
        return model(graph_of([structure], model.neighbour_lists, model.dtype))

    unbounded = potential(largest_factor=6.0).train()
    with pytest.raises(ModelError, match=r"may grow to 6\.5 Å³ in this training.*largest: 3\.\d+"):
        run(unbounded, crystal(1))
    run(unbounded, molecule(1))
    run(unbounded.eval(), crystal(1))
    run(potential(largest_factor=6.0, largest=3.5).train(), crystal(1))


STRUCTURES = [molecule(1, 6), slab(2, 3), crystal(3, 4), molecule(4, 1, total_charge=1)]


def polarizabilities(atoms: AtomicGraph) -> torch.Tensor:
    root = 0.3 * torch.randn(atoms.num_atoms, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return 0.3 * torch.eye(3, dtype=torch.float64) + root @ root.transpose(1, 2)


@pytest.mark.parametrize("dense_up_to", [0, 100], ids=["iterative", "dense"])
def test_it_is_the_answer_to_a_uniform_field(dense_up_to):
    """The dipole by the field, and minus the second derivative of the energy."""
    head, atoms = MolecularPolarizability(cutoff=5.0, dense_up_to=dense_up_to, tolerance=1e-12), graph(STRUCTURES)
    alpha = polarizabilities(atoms)
    found = head(atoms, {"atomic_polarizabilities": alpha})["polarizability"]

    def energy(field):
        external = field.expand(len(STRUCTURES), 3)[atoms.batch]
        solver = Mutual(InductionSolver())
        return solver.induce(atoms, head.interaction, external, alpha, head.strength).energy

    zero = torch.zeros(3, dtype=torch.float64)
    for index in range(len(STRUCTURES)):
        hessian = torch.autograd.functional.hessian(lambda field, index=index: energy(field)[index], zero)
        torch.testing.assert_close(found[index], -COULOMB_CONSTANT * hessian, rtol=1e-8, atol=1e-8)
    of_atoms = atomic_response(atoms, head.interaction, alpha, head.strength, head.solver)
    torch.testing.assert_close(segment_sum(of_atoms, atoms.batch, 4), found, rtol=1e-8, atol=1e-8)


def test_far_atoms_do_not_interact():
    near = molecule(1, 4)
    far = near.copy()
    far.positions *= 300.0
    atoms = graph([far])
    fields = {"atomic_polarizabilities": polarizabilities(atoms)}
    both = [MolecularPolarizability(interacting, cutoff=5.0)(atoms, fields) for interacting in (True, False)]
    torch.testing.assert_close(both[0]["polarizability"], both[1]["polarizability"], rtol=1e-5, atol=1e-5)
    assert MolecularPolarizability(interacting=False).neighbour_lists == {}


def test_atoms_in_a_row_are_more_polarizable_along_it():
    row = molecule(1, 4)
    row.positions = [[0, 0, 1.5 * i] for i in range(4)]
    atoms = graph([row])
    alpha = torch.eye(3, dtype=torch.float64).repeat(4, 1, 1)
    found = MolecularPolarizability(cutoff=5.0)(atoms, {"atomic_polarizabilities": alpha})["polarizability"][0]
    assert float(found[2, 2]) > 4.0 > float(found[0, 0]) == pytest.approx(float(found[1, 1]))
