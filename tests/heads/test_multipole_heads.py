"""Atomic dipoles and quadrupoles, and the quadrupole of structures."""

import pytest
import torch

from eqff.build import build_potential
from eqff.errors import ConfigError
from eqff.testing.battery import LOCAL_ENERGY, HeadBattery

CHARGES = {"_target_": "eqff.heads.charges.Charges", "hidden": 8}
DIPOLES = {"_target_": "eqff.heads.multipoles.AtomicDipoles", "hidden": 8}
QUADRUPOLES = {"_target_": "eqff.heads.multipoles.AtomicQuadrupoles", "hidden": 8}
DIPOLE = {"_target_": "eqff.heads.dipole.Dipole", "atomic_dipoles": False, "include": ["atomic_dipoles"]}
ALL = {"charges": CHARGES, "dipoles": DIPOLES, "quadrupoles": QUADRUPOLES, "dipole": DIPOLE}
TOTAL = {"_target_": "eqff.heads.quadrupole.Quadrupole", "include": ["atomic_dipoles", "atomic_quadrupoles"]}


class TestMoments(HeadBattery):
    heads = ALL
    head = TOTAL

    def test_moments_are_not_all_zero_and_traceless(self):
        found = self.predict(self.potential(), [self.structures()["molecule"], self.structures()["crystal"]])
        assert float(found["atomic_dipoles"].norm(dim=1).min()) > 1e-3
        for name in ("atomic_quadrupoles", "quadrupole"):
            matrices = found[name]
            assert float(matrices.norm(dim=(1, 2)).min()) > 1e-3
            torch.testing.assert_close(matrices, matrices.transpose(1, 2), rtol=0, atol=1e-12)
            trace = matrices.diagonal(dim1=1, dim2=2).sum(dim=1)
            assert float(trace.abs().max()) < 1e-12 * float(matrices.abs().max())


class TestAboutTheCenterOfMass(HeadBattery):
    heads = {"charges": CHARGES}
    head = {"_target_": "eqff.heads.quadrupole.Quadrupole", "origin": "center_of_mass"}
    origin_dependent = {}  # the origin moves with the structure, ions included


def _model(backbone, *heads):
    return {"backbone": backbone, "heads": {str(i): h for i, h in enumerate(heads)}, "terms": {"local": LOCAL_ENERGY}}


def test_linear_readouts_need_no_gates():
    class Linear(HeadBattery):
        head = {**DIPOLES, "hidden": 0}

    battery = Linear()
    names = [name for name, _ in battery.potential().named_parameters() if "heads." in name]
    assert names == ["heads.head.readout.linear.weight"]


@pytest.mark.parametrize(
    ("backbone", "head", "degree"), [("painn.PaiNN", QUADRUPOLES, 2), ("schnet.SchNet", DIPOLES, 1)]
)
def test_backbones_of_too_low_a_degree_are_refused(backbone, head, degree):
    model = _model({"_target_": f"eqff.backbones.{backbone}"}, head)
    with pytest.raises(ConfigError, match=f"degree {degree}.*equivariant"):
        build_potential(model, HeadBattery().context())


def test_painn_gives_dipoles():
    potential = build_potential(_model({"_target_": "eqff.backbones.painn.PaiNN"}, DIPOLES), HeadBattery().context())
    assert "atomic_dipoles" in potential.predicts or any("atomic_dipoles" in h.writes for h in potential.heads.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"include": ["atomic_dipoles"]}, "counted twice"),
        ({"include": ["induced_dipoles", "induced_dipoles"]}, "twice"),
    ],
)
def test_no_dipole_counts_twice(settings, message):
    head = {"_target_": "eqff.heads.dipole.Dipole", **settings}
    with pytest.raises(ConfigError, match=message):
        build_potential(_model({"_target_": "eqff.testing.minimal.MinimalBackbone"}, head), HeadBattery().context())
