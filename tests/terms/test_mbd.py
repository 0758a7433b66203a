"""Many-body dispersion as a term: the battery, with and without screening, and supercells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import make_supercell

from eqff.testing.battery import MINIMAL_BACKBONE, TermBattery
from eqff.testing.compare import assert_close
from eqff.testing.structures import closed_shell, crystal, one_of_each, slab, wire
from eqff.testing.tolerances import INVARIANCE

TARGET = "eqff.terms.mbd.ManyBodyDispersion"
SMALL = {"_target_": TARGET, "beta": 0.83, "cutoff": 10.0, "accuracy": 1e-12, "q_grid": [2, 2, 2]}
VOLUMES = {1: 0.62, 6: 0.83, 7: 0.88, 8: 0.95}
TABULATED = {"volumes": {"_target_": "eqff.heads.volume_ratios.TabulatedVolumeRatios", "ratios": VOLUMES}}


class MBDBattery(TermBattery):
    """Structures that are smaller than the battery's own, because every one of them is diagonalised.

    Far fragments share some 1e-9 eV at 60 Å, which `tests/dispersion/mbd` holds against C6/r⁶.
    """

    fragment_tolerance = 1e-6
    scanned_elements = (1, 8)  # the cells of the scan are large; a cutoff knows of no element

    def structures(self) -> dict[str, Atoms]:
        smaller = {name: make(5, 3, self.elements) for name, make in (("wire", wire), ("slab", slab))}
        return one_of_each(self.elements) | smaller | {"crystal": crystal(5, 3, self.elements)}

    def test_supercell(self) -> None:
        """Two cells with the q points of one: those of the long direction are half as many."""
        cell = closed_shell(crystal(31, elements=self.elements))
        large = make_supercell(cell, np.diag([1, 1, 2]), wrap=False, order="cell-major")
        large.info.update(cell.info)
        potential = self.potential()
        potential.terms["term"].settings = replace(potential.terms["term"].settings, grid=(2, 2, 2))
        one = self.predict(potential, [cell])
        potential.terms["term"].settings = replace(potential.terms["term"].settings, grid=(2, 2, 1))
        two = self.predict(potential, [large])
        assert_close(two["energy"], 2 * one["energy"], INVARIANCE[torch.float64], "energy")
        assert_close(two["stress"], one["stress"], INVARIANCE[torch.float64], "stress")
        assert_close(two["forces"], one["forces"].repeat(2, 1), INVARIANCE[torch.float64], "forces")


@pytest.mark.slow  # `TestPredictedVolumes` has the same screening
class TestScreened(MBDBattery):
    term = SMALL


class TestPlain(MBDBattery):
    term = {**SMALL, "screening": False, "volume_ratios": "volume_ratios"}
    heads = TABULATED


class TestPredictedVolumes(MBDBattery):
    """Volumes that follow the geometry: derivatives go through the screening and its frequencies."""

    backbone = MINIMAL_BACKBONE
    heads = {"volumes": {"_target_": "eqff.heads.volume_ratios.VolumeRatios", "hidden": 4, "start": VOLUMES}}
    term = {
        **SMALL,
        "volume_ratios": "volume_ratios",
        "q_grid": None,
        "q_spacing": 1.0,
        "frequencies": 6,
        "cutoff": 12.0,
    }
