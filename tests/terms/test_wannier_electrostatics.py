"""Ions and Wannier centroids, rigid or responding: the battery, the tail of two waters, and fields from outside."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.special
import torch
from ase.build import molecule as named

from eqff.build import ModelContext, build_potential
from eqff.errors import ModelError
from eqff.response.from_energy import energy_response
from eqff.testing.battery import LOCAL_ENERGY, MINIMAL_BACKBONE, TermBattery
from eqff.testing.structures import closed_shell, crystal, joined, molecule, slab
from eqff.units import COULOMB_CONSTANT

WIDTH = 0.8
CENTROIDS = {
    "_target_": "eqff.heads.wannier_centroids.WannierCentroids",
    "ion_charges": {1: 0.4, 6: 2.0, 7: 1.5, 8: 1.2},
    "centroid_charges": {6: -2.0, 7: -1.0, 8: -2.0},
    "require_total": False,
    "hidden": 4,
}
RESPONDING = {**CENTROIDS, "field": "short_range_displacements"}
ALPHA = {
    "_target_": "eqff.heads.polarizabilities.Polarizabilities",
    "hidden": 4,
    "start": {1: 0.3, 6: 0.3, 7: 0.2, 8: 0.25},
}
RIGID_TERM = {
    "_target_": "eqff.terms.wannier_electrostatics.WannierElectrostatics",
    "width": WIDTH,
    "accuracy": 1e-12,
}
TERM = {
    **RIGID_TERM,
    "_target_": "eqff.terms.self_consistent_centroids.SelfConsistentWannier",
    "tolerance": 1e-12,
}


def charges_and_places(prediction, positions):
    """Of all ions and centroids, as arrays."""
    electrons = prediction["centroid_charges"].numpy()
    places = positions + prediction["wannier_displacements"].numpy()
    charges = np.concatenate([prediction["ion_charges"].numpy(), electrons])
    return charges, np.concatenate([positions, places])


class TestRigid(TermBattery):
    backbone = MINIMAL_BACKBONE
    heads = {"centroids": CENTROIDS}
    term = RIGID_TERM

    def test_far_fragments_add_up(self):
        """But for what their charges have with each other."""
        potential, structures = self.potential(), [closed_shell(molecule(32, 6)), closed_shell(molecule(33, 4))]
        both = joined(*structures, [self.fragment_distance, 3.0, -2.0])
        together, parts = self.predict(potential, [both]), self.predict(potential, structures)
        charges, places = charges_and_places(together, both.positions)
        first = np.tile(np.arange(10) < 6, 2)
        distances = np.linalg.norm(places[first][:, None] - places[~first], axis=2)
        tail = COULOMB_CONSTANT * (charges[first][:, None] * charges[~first] / distances).sum()
        expected = float(parts["energy"].sum()) + tail
        assert float(together["energy"]) == pytest.approx(expected, rel=1e-10)


class TestResponding(TermBattery):
    backbone = MINIMAL_BACKBONE
    heads = {"centroids": RESPONDING, "alpha": ALPHA}
    term = TERM
    kinds: tuple[str, ...] = ("molecule", "atom", "crystal")

    def structures(self):
        return {name: atoms for name, atoms in super().structures().items() if name in self.kinds}

    def test_far_fragments_add_up(self):
        pytest.skip("the field of charges reaches any distance; the tail of two waters is looked at below")


@pytest.mark.slow
class TestRespondingOfEveryKind(TestResponding):
    kinds = ("anion", "wire", "slab", "crystal")
    term = {**TERM, "polarizability": True}


def water_model(term, heads, **settings):
    """Untrained, of water; centroids see 3 Å far."""
    water = {"ion_charges": {1: 1, 8: 6}, "centroid_charges": {8: -8}, "require_total": True, "scale": 0.02}
    heads = {**heads, "centroids": heads["centroids"] | water}
    config = {
        "backbone": {**MINIMAL_BACKBONE, "cutoff": 3.0},
        "heads": {**heads, "dipole": {"_target_": "eqff.heads.wannier_dipole.WannierDipole", **settings}},
        "terms": {"local": LOCAL_ENERGY, "wannier": {**term, "width": 1.77}},
    }
    torch.manual_seed(3)
    return build_potential(config, ModelContext((1, 8), {1: -1.0, 8: -2.0}), torch.float64).eval()


RIGID = (RIGID_TERM, {"centroids": CENTROIDS})
FOLLOWING = ({**TERM, "polarizability": True}, {"centroids": RESPONDING, "alpha": ALPHA | {"start": {1: 0.1, 8: 1.4}}})
BOTH = pytest.mark.parametrize("model", [RIGID, FOLLOWING], ids=["rigid", "responding"])


def waters(*distances):
    """Two waters in the same orientation, their oxygens so far apart along an axis."""
    found = []
    for distance in distances:
        atoms = named("H2O")
        atoms.rotate(40, "x")
        atoms.rotate(25, "y")
        atoms.info.update(total_charge=0, multiplicity=1)
        found.append(joined(atoms, atoms, [0.0, 0.0, distance]))
    return found


def interaction(potential, atoms):
    battery = TermBattery()
    both, one = battery.predict(potential, [atoms]), battery.predict(potential, [atoms[:3]])
    return float(both["energy"] - 2 * one["energy"]), both, one


@BOTH
def test_two_waters_have_the_tail_of_their_dipoles(model):
    """Beyond the cutoff, where a local model is flat: k_e (1 - 3 cos²) mu²/R³, the more the farther; from 4 to 12 Å."""
    potential = water_model(*model)
    ratios = []
    for distance, atoms in zip((4.5, 8.0, 12.0, 60.0), waters(4.5, 8.0, 12.0, 60.0), strict=True):
        energy, both, one = interaction(potential, atoms)
        assert float(both["energy_local"] - 2 * one["energy_local"]) == pytest.approx(0.0, abs=1e-12)
        dipole = one["dipole"][0].numpy()
        form = COULOMB_CONSTANT * (dipole @ dipole - 3 * dipole[2] ** 2) / distance**3
        ratios.append(energy / form)
    assert abs(ratios[-1] - 1) < 5e-3
    away = [abs(ratio - 1) for ratio in ratios]
    assert away == sorted(away, reverse=True) and away[2] < 0.1


def test_rigid_waters_have_a_sum_over_pairs_at_every_distance():
    """In plain loops, erf and all, from the centroids that were predicted."""
    potential = water_model(*RIGID)
    for atoms in waters(5.0, 6.0, 12.0):
        energy, both, _ = interaction(potential, atoms)
        charges, places = charges_and_places(both, atoms.positions)
        first, expected = np.tile(np.arange(6) < 3, 2), 0.0
        for i in np.flatnonzero(first):
            for j in np.flatnonzero(~first):
                r = np.linalg.norm(places[i] - places[j])
                expected += COULOMB_CONSTANT * charges[i] * charges[j] * math.erf(r / (math.sqrt(2) * 1.77)) / r
        assert energy == pytest.approx(expected, rel=1e-9)
        assert float(scipy.special.erfc(5.0 / 2.5)) > 1e-3  # at the least distance charges do overlap


def in_fields(potential, structures, fields):
    graph = TermBattery().graph(potential, structures)
    return replace(graph, electric_field=torch.tensor(fields, dtype=torch.float64))


@BOTH
def test_a_uniform_field(model):
    """-dE/dF is the dipole, -d²E/dr dF its derivative, and -d²E/dF² that of the dipole by the field, by differences."""
    potential = water_model(*model, born_charges=True)
    structures, fields = waters(2.8, 4.0), [[0.3, -0.2, 0.5], [0.0, 0.1, 0.0]]
    graph = in_fields(potential, structures, fields)
    found, prediction = energy_response(potential, graph), potential(graph)
    torch.testing.assert_close(found.dipole, prediction["dipole"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.born_charges, prediction["born_charges"], rtol=1e-8, atol=1e-8)
    for axis in range(3):
        ends = []
        for step in (1e-3, -1e-3):
            moved = np.array(fields)
            moved[:, axis] += step
            ends.append(potential(in_fields(potential, structures, moved))["dipole"])
        slope = COULOMB_CONSTANT * (ends[0] - ends[1]) / 2e-3
        torch.testing.assert_close(found.polarizability[:, :, axis], slope, rtol=1e-5, atol=1e-6)
    written = prediction.get("polarizability", torch.zeros(2, 3, 3, dtype=torch.float64))  # none of rigid centroids
    torch.testing.assert_close(written, found.polarizability, rtol=1e-8, atol=1e-8)


def test_polarizabilities_are_those_of_the_centroids():
    """Two waters far apart have twice one's: finite, positive, and less than alpha, as ions hold their centroids."""
    potential = water_model(*FOLLOWING)
    far = waters(200.0)[0]
    two, one = (energy_response(potential, in_fields(potential, [a], [[0.0] * 3])) for a in (far, far[:3]))
    torch.testing.assert_close(two.polarizability, 2 * one.polarizability, rtol=1e-5, atol=1e-6)
    alpha = potential(in_fields(potential, [far[:3]], [[0.0] * 3]))["atomic_polarizabilities"][0]
    lowest, bare = torch.linalg.eigvalsh(one.polarizability[0]), torch.linalg.eigvalsh(alpha)
    assert bool((lowest > 0.5 * bare).all()) and bool((lowest < bare).all())
    rigid = energy_response(water_model(*RIGID), in_fields(potential, [far], [[0.0] * 3]))
    assert not bool(rigid.polarizability.any())


def test_no_response_is_the_rigid_model():
    heads = {"centroids": RESPONDING, "alpha": {"_target_": "eqff.heads.polarizabilities.TabulatedPolarizabilities"}}
    heads["alpha"]["values"] = {"H": 0.0, "O": 0.0}
    rigid, still = water_model(*RIGID), water_model(TERM, heads)
    predictions = [TermBattery().predict(potential, waters(2.8, 5.0)) for potential in (rigid, still)]
    for name in ("energy", "forces", "wannier_displacements", "dipole"):
        torch.testing.assert_close(predictions[1][name], predictions[0][name], rtol=1e-12, atol=1e-12)


@BOTH
def test_fields_across_a_slab_and_along_a_lattice_vector(model):
    battery = TestRigid() if model is RIGID else TestResponding()
    potential, sheet, bulk = battery.potential(), slab(6), crystal(7)
    normal = np.cross(sheet.cell[0], sheet.cell[1])
    field = 0.1 * normal / np.linalg.norm(normal)
    still, moved = (potential(in_fields(potential, [sheet], [f]))["energy"] for f in ([0.0] * 3, field.tolist()))
    assert float((still - moved).abs()) > 1e-3
    with pytest.raises(ModelError, match="along a lattice vector"):
        potential(in_fields(potential, [bulk], [[0.1, 0.0, 0.0]]))
    with pytest.raises(ModelError, match="Structure 0 .* net charge"):
        strict = type(battery)()
        strict.term = {**battery.term, "charged_cell": "refuse"}
        strict.predict(strict.potential(), [bulk])
