"""Learned dispersion: the battery with coefficients of elements and of atoms."""

from eqff.testing.battery import MINIMAL_BACKBONE, TermBattery

TARGET = "eqff.terms.learned_dispersion.LearnedDispersion"


class TestElements(TermBattery):
    term = {"_target_": TARGET, "cutoff": 4.5, "fade": 1.0}
    perturbation = 0.02


class TestPredicted(TermBattery):
    backbone = MINIMAL_BACKBONE
    heads = {"c6": {"_target_": "eqff.heads.dispersion_coefficients.DispersionCoefficients", "hidden": 0}}
    term = {"_target_": TARGET, "c6": "c6_coefficients", "cutoff": 5.0, "fade": 2.0}
    perturbation = 0.02  # larger ones make C6 so steep that the battery's finite differences end above its tolerance
