"""D3: the battery for both dampings and triples, on short cutoffs, so that every one of them is crossed often."""

from eqff.testing.battery import TermBattery

SHORT = {"cutoff": 4.5, "coordination_cutoff": 3.5, "fade": 1.0}


class TestRational(TermBattery):
    term = {"_target_": "eqff.terms.d3.D3", "functional": "pbe", "damping": "bj", **SHORT}
    special_radii = (3.5,)


class TestZero(TermBattery):
    term = {"_target_": "eqff.terms.d3.D3", "functional": "pbe", "damping": "zero", **SHORT}
    special_radii = (3.5,)


class TestTriples(TermBattery):
    term = {
        "_target_": "eqff.terms.d3.D3",
        "functional": "pbe",
        "three_body": True,
        "three_body_cutoff": 3.0,
        **SHORT,
        # triples alone
        "parameters": {"s6": 0.0, "s8": 0.0},
    }
    special_radii = (3.5,)
