"""Wannier centroids and their dipole: the battery, which atoms have one, and charges that don't fit."""

from __future__ import annotations

import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError, ModelError
from eqff.heads.wannier_centroids import WannierCentroids
from eqff.testing.battery import MINIMAL_BACKBONE, HeadBattery
from eqff.testing.structures import molecule

TARGET = "eqff.heads.wannier_centroids.WannierCentroids"
VALENCE = {1: 1, 6: 4, 7: 5, 8: 6}
CENTROIDS = {
    "_target_": TARGET,
    "ion_charges": VALENCE,
    "centroid_charges": {6: -4, 7: -5, 8: -6},
    "require_total": False,
    "hidden": 4,
}


class TestCentroids(HeadBattery):
    head = CENTROIDS

    def test_chosen_elements_have_one(self):
        structures = list(self.structures().values())
        prediction = self.predict(self.potential(), structures)
        numbers = torch.cat([torch.as_tensor(atoms.numbers) for atoms in structures])
        moved = prediction["wannier_displacements"].norm(dim=1)
        assert not bool(moved[numbers == 1].any())
        alone = torch.cat([torch.full((len(atoms),), len(atoms) == 1) for atoms in structures])
        assert float(moved[(numbers != 1) & ~alone].min()) > 1e-5
        assert not bool(prediction["centroid_charges"][numbers == 1].any())


class TestWannierDipole(HeadBattery):
    """With atoms that are neutral, so that total charges are those of the structures."""

    heads = {"centroids": CENTROIDS | {"ion_charges": VALENCE | {1: 0}}}
    head = {"_target_": "eqff.heads.wannier_dipole.WannierDipole", "born_charges": True}

    def structures(self):
        return {name: atoms for name, atoms in super().structures().items() if not atoms.info["total_charge"]}

    def test_supercell(self):
        pytest.skip("Born charges of a cell as small as an environment depend on the cell (test_born_charges)")

    def test_is_the_first_moment_of_ions_and_centroids(self):
        atoms = molecule(1)
        prediction = self.predict(self.potential(), [atoms])
        ions, electrons = prediction["ion_charges"], prediction["centroid_charges"]
        positions = torch.as_tensor(atoms.positions)
        places = positions + prediction["wannier_displacements"]
        expected = (ions[:, None] * positions).sum(0) + (electrons[:, None] * places).sum(0)
        torch.testing.assert_close(prediction["dipole"][0], expected, rtol=1e-12, atol=1e-12)
        # moving all atoms moves nothing but ions: their sum is the total charge
        assert float(prediction["born_charges"].sum(0).abs().max()) < 1e-10


def potential_of(**settings):
    head = CENTROIDS | {"require_total": True} | settings
    terms = {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}}
    config = {"backbone": MINIMAL_BACKBONE, "heads": {"centroids": head}, "terms": terms}
    return build_potential(config, ModelContext((1, 8), {1: -1.0, 8: -2.0}), torch.float64).eval()


def test_charges_must_add_up():
    battery = HeadBattery()
    water = potential_of(centroid_charges={"O": -8})
    hydroxide = molecule(1, 2, (1, 8), total_charge=-1)
    hydroxide.numbers[:] = 1, 8
    assert bool(battery.predict(water, [hydroxide])["energy"].isfinite())
    hydroxide.info.update(total_charge=0, multiplicity=2)
    with pytest.raises(ModelError, match="charges of ions and Wannier centroids of structure 0 .* add up to -1.0000 e"):
        battery.predict(water, [hydroxide])


def test_elements_need_charges():
    arguments = {"channels": 2, "num_passes": 1, "elements": (1, 8)}
    with pytest.raises(ConfigError, match="ion charges: none given for H"):
        WannierCentroids(**arguments, ion_charges={"O": 6}, centroid_charges={"O": -8})
    with pytest.raises(ConfigError, match="centroid charges: none given"):
        WannierCentroids(**arguments, ion_charges={"O": 6, "H": 1}, centroid_charges={})
    with pytest.raises(ConfigError, match="no element 'Ox'"):
        WannierCentroids(**arguments, ion_charges={"O": 6, "H": 1}, centroid_charges={"Ox": -8})
