"""D3: the battery for both dampings, on short cutoffs, so that every one of them is crossed often."""

from eqff.testing.battery import TermBattery

TARGET = "eqff.terms.d3.D3"
SHORT = {"functional": "pbe", "cutoff": 4.5, "coordination_cutoff": 3.5, "fade": 1.0}


class TestRationalWithTriples(TermBattery):
    # triples are a hundredth of the rest: scaled up, so that the checks see them
    term = {"_target_": TARGET, **SHORT, "three_body": True, "three_body_cutoff": 3.0, "parameters": {"s9": 50.0}}
    special_radii = (3.5,)


class TestZero(TermBattery):
    term = {"_target_": TARGET, "damping": "zero", **SHORT}
    special_radii = (3.5,)
