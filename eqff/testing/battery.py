"""The batteries: everything that must hold for a potential, a backbone, a term or a head, by one small subclass each.

    class TestMyTerm(TermBattery):
        term = {"_target_": "my_parts.my_term.MyTerm", "cutoff": 4.0}

in a test file is all that pytest needs (call ``eqff.allow("my_parts")`` first for parts outside of eqff).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from eqff.testing.compare import assert_close
from eqff.testing.conservation import ConservationChecks
from eqff.testing.consistency import ConsistencyChecks
from eqff.testing.differences import DerivativeChecks
from eqff.testing.frames import random_orthogonal, turn_features
from eqff.testing.learning import LearningChecks
from eqff.testing.structures import transformed
from eqff.testing.symmetry import TURN_NAMES, TURNS, SymmetryChecks
from eqff.testing.tolerances import INVARIANCE

MINIMAL_BACKBONE = {"_target_": "eqff.testing.minimal.MinimalBackbone"}
LOCAL_ENERGY = {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 8}


class PotentialBattery(SymmetryChecks, DerivativeChecks, ConsistencyChecks, ConservationChecks, LearningChecks):
    """Everything that must hold for a whole potential.

    A subclass gives ``model`` (a config) or `make_potential`, and may narrow ``elements`` and `structures`. Keep it
    small: the checks evaluate a few hundred structures, which takes some seconds for 8 channels on one core.
    """


class BackboneBattery(PotentialBattery):
    """For a backbone: under energies that read all of its features, and its features held against Wigner's matrices.

    Attributes:
        backbone: Its config.
        degree: Highest degree of the features asked of it.
    """

    backbone: Mapping[str, Any]
    degree: int = 2

    @property
    def model(self) -> Mapping[str, Any]:
        """The backbone, the local energy, and one that reads every degree."""
        probe = {"_target_": "eqff.testing.minimal.PowerEnergy", "degree": self.degree}
        return {"backbone": self.backbone, "terms": {"local": LOCAL_ENERGY, "probe": probe}}

    @pytest.mark.parametrize(("reflect", "dtype"), TURNS, ids=TURN_NAMES)
    def test_features_are_equivariant(self, reflect: bool, dtype: torch.dtype) -> None:
        """Features of degree l turn with e3nn's matrix of l, parity (-1)^l."""
        potential, structures = self.potential(dtype), list(self.structures().values())
        matrix = random_orthogonal(14, reflect=reflect)
        before = self.predict(potential, structures, dtype)["features"]
        after = self.predict(potential, [transformed(atoms, matrix) for atoms in structures], dtype)["features"]
        assert before.shape[1:] == ((self.degree + 1) ** 2, potential.backbone.channels)
        assert_close(after, turn_features(before, matrix), INVARIANCE[dtype], "features")


class TermBattery(PotentialBattery):
    """For an energy term: alone, or on a backbone and heads that provide what it reads.

    Attributes:
        term: Its config.
        heads: Configs of the heads it needs, by name.
        backbone: Config of a backbone, for example `MINIMAL_BACKBONE`; None if neither term nor heads need one.
    """

    term: Mapping[str, Any]
    heads: Mapping[str, Mapping[str, Any]] = {}
    backbone: Mapping[str, Any] | None = None

    @property
    def model(self) -> Mapping[str, Any]:
        """The term and what it needs."""
        return {"backbone": self.backbone, "heads": self.heads, "terms": {"term": self.term}}


class HeadBattery(PotentialBattery):
    """For a head, on the smallest backbone and under the local energy.

    Attributes:
        head: Its config.
        heads: Configs of the heads that must run before it, by name.
    """

    head: Mapping[str, Any]
    heads: Mapping[str, Mapping[str, Any]] = {}

    @property
    def model(self) -> Mapping[str, Any]:
        """The head on top of all that it needs."""
        heads = {**self.heads, "head": self.head}
        return {"backbone": MINIMAL_BACKBONE, "heads": heads, "terms": {"local": LOCAL_ENERGY}}


class ExchangeBattery(PotentialBattery):
    """For an exchange, between the passes of the smallest backbone and under the local energy.

    Attributes:
        exchange: Its config.
    """

    exchange: Mapping[str, Any]

    @property
    def model(self) -> Mapping[str, Any]:
        """The exchange in its place."""
        return {
            "backbone": MINIMAL_BACKBONE,
            "exchanges": {"exchange": self.exchange},
            "terms": {"local": LOCAL_ENERGY},
        }
