"""The example backbone passes its own battery."""

from eqff.testing.battery import MINIMAL_BACKBONE, BackboneBattery


class TestMinimalBackbone(BackboneBattery):
    backbone = MINIMAL_BACKBONE


class TestInvariantFeatures(BackboneBattery):
    """Two passes of scalars: compiled, this is what a fusion of torch 2.13 gets wrong (see `compile_training_step`)."""

    backbone = {**MINIMAL_BACKBONE, "channels": 4}
    degree = 0
