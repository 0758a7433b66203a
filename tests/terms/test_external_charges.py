"""Structures among external charges: the battery, forces on both, and limits that are known otherwise."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError, ModelError
from eqff.longrange.external import external_fields
from eqff.longrange.multipoles.moments import Moments
from eqff.longrange.multipoles.points import potential_at
from eqff.parts import Exchange
from eqff.potential import Potential
from eqff.testing.battery import LOCAL_ENERGY, MINIMAL_BACKBONE, TermBattery
from eqff.testing.compare import assert_close
from eqff.testing.graphs import graph_of
from eqff.testing.structures import among_charges, crystal, molecule
from eqff.testing.tolerances import FINITE_DIFFERENCE, INVARIANCE
from eqff.units import COULOMB_CONSTANT

CHARGES = {"_target_": "eqff.heads.charges.Charges", "hidden": 4}
DIPOLES = {"_target_": "eqff.heads.multipoles.AtomicDipoles", "hidden": 4}
QUADRUPOLES = {"_target_": "eqff.heads.multipoles.AtomicQuadrupoles", "hidden": 4}
QEQ = {"_target_": "eqff.heads.charge_equilibration.ChargeEquilibration", "hidden": 4, "max_width": 1.2, "cutoff": 6.5}
SQE = {"_target_": "eqff.heads.split_charges.SplitCharges", "hidden": 4, "max_width": 1.2, "cutoff": 6.5}
ALPHA = {
    "_target_": "eqff.heads.polarizabilities.TabulatedPolarizabilities",
    "values": {"H": 0.4, "C": 1.0, "N": 0.8, "O": 0.7},
}
EXTERNAL = {"_target_": "eqff.terms.external_charges.ExternalChargeEnergy"}
EQUILIBRATION = {"_target_": "eqff.terms.field_energy.FieldEnergy"}
INDUCTION = {"_target_": "eqff.terms.induction.Induction"}
PERMANENT = {
    "backbone": MINIMAL_BACKBONE,
    "heads": {"charges": CHARGES, "dipoles": DIPOLES, "quadrupoles": QUADRUPOLES},
    "terms": {
        "local": LOCAL_ENERGY,
        "external": {**EXTERNAL, "dipoles": "atomic_dipoles", "quadrupoles": "atomic_quadrupoles", "width": 0.8},
    },
}
EQUILIBRATED = {
    "backbone": MINIMAL_BACKBONE,
    "heads": {"charges": QEQ},
    "terms": {"local": LOCAL_ENERGY, "equilibration": EQUILIBRATION},
}
TRANSFERRED = {**EQUILIBRATED, "heads": {"charges": SQE}}
INDUCED = {
    "backbone": MINIMAL_BACKBONE,
    "heads": {"charges": CHARGES, "alpha": ALPHA},
    "terms": {"local": LOCAL_ENERGY, "external": EXTERNAL, "induction": INDUCTION},
}
BOTH = {
    "backbone": MINIMAL_BACKBONE,
    "heads": {"charges": QEQ, "alpha": ALPHA},
    "terms": {"local": LOCAL_ENERGY, "equilibration": EQUILIBRATION, "induction": INDUCTION},
}
EVERY = {"permanent": PERMANENT, "equilibrated": EQUILIBRATED, "transferred": TRANSFERRED, "induced": INDUCED}
MODELS = pytest.mark.parametrize("model", EVERY)


def _around():
    return {
        "points": among_charges(molecule(1), 1, 4),
        "clouds": among_charges(molecule(2, 6, total_charge=1), 2, 6, width=0.7),
        "ion": among_charges(molecule(3, 5, total_charge=-1), 3, 1),
    }


class AmongChargesBattery(TermBattery):
    """The battery among external charges."""

    def structures(self):
        return _around()

    # of structures without external charges, which other tests are about
    test_wrapped_atoms = test_supercell = test_far_fragments_add_up = test_smooth_at_cutoffs = None

    def test_no_net_force_or_torque(self):
        """Of both regions together."""
        structures = self.structures()
        found = self.predict(self.potential(), list(structures.values()))
        forces = found["forces"].split([len(atoms) for atoms in structures.values()])
        outside = found["external_forces"].split([len(a.info["external_charges"]) for a in structures.values()])
        for (name, atoms), here, there in zip(structures.items(), forces, outside, strict=True):
            every = torch.cat([here, there])
            places = torch.as_tensor(np.concatenate([atoms.positions, atoms.info["external_positions"]]))
            scale = every.abs().sum().clamp(min=1.0)
            torque = torch.linalg.cross(places, every).sum(0)
            for what, value in (("net force", every.sum(0)), ("torque", torque)):
                assert_close(value / scale, torch.zeros(3), INVARIANCE[torch.float64], f"{what}, {name}", 1.0)


class TestPermanentMoments(AmongChargesBattery):
    model = PERMANENT


class TestRespondingMoments(AmongChargesBattery):
    """Equilibrated charges and induced dipoles, which the same energy holds, though not as one minimum of both."""

    model = BOTH


def _potential(model):
    torch.manual_seed(0)
    energies = dict.fromkeys((1, 6, 7, 8), 0.0)
    return build_potential(model, ModelContext((1, 6, 7, 8), energies, mean_neighbours=20.0), torch.float64).eval()


def _graph(potential, structures):
    return graph_of(structures, potential.neighbour_lists, torch.float64)


def _with_external(graph, **values):
    return replace(graph, external=replace(graph.external, **values))


def _alone(graph):
    return replace(graph, external=None)


@MODELS
def test_forces_on_external_charges_and_potentials_at_them(model):
    """Against central differences of the energy by their positions and by the charges themselves."""
    potential = _potential(EVERY[model])
    graph = _graph(potential, list(_around().values()))
    found, rng, step = potential(graph), torch.Generator().manual_seed(3), 1e-3
    external = graph.external

    def energy(**values):
        return potential(_with_external(graph, **values), forces=False)["energy"].detach()

    for name, expected in (("positions", -found["external_forces"]), ("charges", found["potential_at_external"])):
        values = getattr(external, name)
        along = torch.randn(values.shape, generator=rng, dtype=torch.float64)
        ends = [energy(**{name: values + n * step * along}) for n in (-2, -1, 1, 2)]
        slope = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)
        product = (expected * along).reshape(len(values), -1).sum(dim=1)
        sums = torch.zeros_like(slope).index_add(0, external.batch, product)
        scale = float(slope.abs().max())
        assert_close(sums / scale, slope / scale, FINITE_DIFFERENCE, name, 1.0)


def test_fields_are_those_of_a_plain_sum():
    """k_e q erf(r/gamma)/r and its derivatives, pair by pair, for points and clouds."""
    graph = graph_of(list(_around().values()), {}, torch.float64)
    widths = torch.linspace(0.0, 1.0, graph.num_atoms, dtype=torch.float64)
    found, external = external_fields(graph, 2, widths), graph.external
    for atom in range(graph.num_atoms):
        place = graph.positions[atom].clone().requires_grad_()
        phi = torch.zeros((), dtype=torch.float64)
        for k in range(len(external.charges)):
            if external.batch[k] == graph.batch[atom]:
                r = torch.linalg.vector_norm(place - external.positions[k])
                gamma = math.hypot(float(widths[atom]), float(external.widths[k]))
                screened = torch.erf(r / gamma) if gamma else 1.0
                phi = phi + COULOMB_CONSTANT * external.charges[k] * screened / r
        (slope,) = torch.autograd.grad(phi, place, create_graph=True)
        gradient = -torch.stack([torch.autograd.grad(slope[b], place, retain_graph=True)[0] for b in range(3)], dim=1)
        torch.testing.assert_close(found.potential[atom], phi.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found.field[atom], -slope.detach(), rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(found.gradient[atom], gradient, rtol=1e-10, atol=1e-10)


def test_energy_of_permanent_moments_is_that_in_their_own_potential():
    """sum q_k phi(R_k), where phi is the potential that the moments make at the charges, computed from their side."""
    points = {**PERMANENT["terms"]["external"], "width": 0.0}
    potential = _potential({**PERMANENT, "terms": {"external": points}})
    graph = _graph(potential, [among_charges(molecule(n), n, 4) for n in (1, 5)])
    found, external = potential(graph), graph.external
    moments = Moments(found["charges"], found["atomic_dipoles"], found["atomic_quadrupoles"])
    phi = potential_at(external.positions, external.batch, graph, moments)
    expected = torch.zeros(2, dtype=torch.float64).index_add(0, external.batch, external.charges * phi)
    torch.testing.assert_close(found["energy"], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found["potential_at_external"], phi, rtol=1e-11, atol=1e-11)


@MODELS
def test_energy_of_a_far_charge(model):
    """q k_e (Q/R + mu·n/R²) about the origin; what is missing, the quadrupole's share first, falls as 1/R³."""
    include = {"permanent": ["atomic_dipoles"], "induced": ["induced_dipoles"]}.get(model, [])
    dipole = {"_target_": "eqff.heads.dipole.Dipole", "atomic_dipoles": False, "include": include}
    potential = _potential({**EVERY[model], "heads": {**EVERY[model]["heads"], "total": dipole}})
    away, charge, missing = np.array([0.48, 0.6, -0.64]), 0.7, []
    for distance in (60.0, 120.0):
        atoms = molecule(2, 6, total_charge=1)
        atoms.info |= {"external_positions": distance * away[None], "external_charges": [charge]}
        graph = _graph(potential, [atoms])
        alone = potential(_alone(graph))
        along = float(alone["dipole"][0] @ torch.as_tensor(away))
        limit = COULOMB_CONSTANT * charge * (1.0 / distance + along / distance**2)
        missing.append(float(potential(graph)["energy"] - alone["energy"]) - limit)
    assert abs(missing[0]) < 1e-3 and missing[0] / missing[1] == pytest.approx(8.0, rel=0.1)


@MODELS
def test_polarisation_is_consistent(model):
    """dE/dlambda of lambda times the external charges is the energy of the moments, as they then are, in theirs."""
    potential = _potential(EVERY[model])
    graph = _graph(potential, list(_around().values()))
    charges, step = graph.external.charges, 1e-4

    def scaled(factor):
        return _with_external(graph, charges=factor * charges)

    ends = [potential.energy(scaled(0.6 + sign * step))[0] for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    found = potential(scaled(0.6))
    widths = {"permanent": torch.full_like(found["charges"], 0.8), "induced": None}
    clouds = widths.get(model, found.get("gaussian_widths"))
    fields = external_fields(graph, 2, clouds)
    atoms = found["charges"] * fields.potential
    if model == "induced":
        atoms = atoms - (found["induced_dipoles"] * fields.field).sum(1)
    if model == "permanent":
        atoms = atoms - (found["atomic_dipoles"] * fields.field).sum(1)
        atoms = atoms - (found["atomic_quadrupoles"] * fields.gradient).sum((1, 2)) / 3
    expected = torch.zeros_like(slope).index_add(0, graph.batch, atoms)
    torch.testing.assert_close(slope, expected, rtol=1e-7, atol=1e-7)
    second = (ends[0] - 2 * potential.energy(scaled(0.6))[0] + ends[1]) / step**2
    responds = model != "permanent"
    assert bool((second < -1e-3).all()) if responds else bool((second.abs() < 1e-3).all())


@pytest.mark.parametrize("model", [EQUILIBRATED, TRANSFERRED, BOTH], ids=["equilibrated", "transferred", "both"])
def test_two_far_charges_make_a_uniform_field(model):
    """±q at ∓R n act as the field 2 k_e q/R² along n: energies, charges and dipoles are those of `electric_field`."""
    potential, distance = _potential(model), 4000.0
    axis, field = torch.tensor([0.48, 0.6, -0.64], dtype=torch.float64), 0.3
    charge = field * distance**2 / (2 * COULOMB_CONSTANT)
    atoms = molecule(1)
    ends = np.outer([-distance, distance], axis.numpy())
    atoms.info |= {"external_positions": ends, "external_charges": [charge, -charge]}
    graph = _graph(potential, [atoms])
    uniform = replace(_alone(graph), electric_field=field * axis[None])
    found, expected = potential(graph), potential(uniform)
    for name in {"energy", "forces", "charges", "induced_dipoles"} & set(found):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)
    moved = (found["charges"] - potential(_alone(graph))["charges"]).abs().max()
    assert float(moved) > 1e-3


def test_structures_of_a_batch_feel_their_own_charges():
    """Also beside structures that have none."""
    potential, structures = _potential(BOTH), [molecule(4, 3), *_around().values(), molecule(5, 4), crystal(6)]
    every = potential(_graph(potential, structures))
    singles = [potential(_graph(potential, [atoms])) for atoms in structures]
    assert "external_forces" not in singles[0]
    for name in ("energy", "forces", "charges", "external_forces"):
        expected = torch.cat([single[name] for single in singles if name in single])
        assert_close(every[name], expected, INVARIANCE[torch.float64], name)


def test_models_that_feel_nothing_refuse_external_charges():
    potential = _potential({"backbone": MINIMAL_BACKBONE, "terms": {"local": LOCAL_ENERGY}})
    with pytest.raises(ModelError, match="No part of this model feels external charges"):
        potential(_graph(potential, [_around()["points"]]))


def test_charges_that_move_without_an_energy_are_refused():
    """Equilibrated for a dipole alone: there would be no force on the external charges."""
    potential = _potential({**EQUILIBRATED, "terms": {"local": LOCAL_ENERGY}})
    with pytest.raises(ModelError, match="No part of this model feels external charges"):
        potential(_graph(potential, [_around()["points"]]))


class Feeling(Exchange):
    """An exchange of somebody's own: features that know the potential of external charges."""

    reads = ("positions", "external_charges")

    def forward(self, index, features, graph):
        outside = external_fields(graph, 0)
        potential = 0.0 if outside is None else outside.potential.to(features)[:, None, None]
        return torch.cat([features[:, :1] + potential, features[:, 1:]], dim=1), {}


def test_features_may_feel_them():
    plain = _potential({"backbone": MINIMAL_BACKBONE, "terms": {"local": LOCAL_ENERGY}})
    felt = Potential(plain.backbone, plain.terms, {}, {"mine": Feeling()}, elements=plain.elements).eval()
    found = felt(_graph(felt, [_around()["points"]]))
    assert float(found["external_forces"].abs().max()) > 0


def test_moments_left_out_are_told_once(caplog):
    coulomb = {"_target_": "eqff.terms.coulomb.Coulomb"}
    model = {**PERMANENT, "heads": {"charges": CHARGES, "alpha": ALPHA}, "terms": {"a": coulomb, "b": INDUCTION}}
    potential = _potential(model)
    graph = _graph(potential, [_around()["points"]])
    with caplog.at_level(logging.WARNING, logger="eqff"):
        for _ in range(2):
            potential(graph)
    (record,) = caplog.records
    assert "holds the energy of charges among them" in record.getMessage()


def test_an_energy_held_twice_is_refused():
    with pytest.raises(ModelError, match="both hold the energy of charges among external charges"):
        _potential({**EQUILIBRATED, "terms": {**EQUILIBRATED["terms"], "external": EXTERNAL}})


@pytest.mark.parametrize("settings", [{"charges": None}, {"width": 0.5, "widths": "gaussian_widths"}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ConfigError):
        _potential({**PERMANENT, "terms": {"external": {**EXTERNAL, **settings}}})


def test_periodic_structures_are_refused():
    atoms = crystal(1)
    atoms.info |= {"external_positions": [[9.0, 9.0, 9.0]], "external_charges": [0.5]}
    potential = _potential(EQUILIBRATED)
    with pytest.raises(ModelError, match="is periodic and among external charges"):
        potential(_graph(potential, [atoms]))


def test_a_charge_on_an_atom_is_refused():
    atoms = molecule(1)
    atoms.info |= {"external_positions": atoms.positions[2:3], "external_charges": [0.5]}
    potential = _potential(EQUILIBRATED)
    with pytest.raises(ModelError, match="External charge 0 of the batch lies on atom 2"):
        potential(_graph(potential, [atoms]))


def test_other_than_gaussian_charges_are_refused():
    tables = {"electronegativity": 5.0, "hardness": 14.0, "widths": 0.4}
    head = {"_target_": "eqff.heads.tabulated_equilibration.TabulatedEquilibration", "kernel": "slater"}
    head |= {name: dict.fromkeys("HCNO", value) for name, value in tables.items()}
    potential = _potential({"heads": {"charges": head}, "terms": {"equilibration": EQUILIBRATION}})
    with pytest.raises(ModelError, match="kernel=slater"):
        potential(_graph(potential, [_around()["points"]]))
