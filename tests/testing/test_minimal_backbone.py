"""The example backbone passes its own battery."""

from eqff.testing.battery import MINIMAL_BACKBONE, BackboneBattery


class TestMinimalBackbone(BackboneBattery):
    backbone = MINIMAL_BACKBONE


class TestInvariantFeatures(BackboneBattery):
    backbone = {**MINIMAL_BACKBONE, "num_passes": 1, "channels": 4}
    degree = 0
