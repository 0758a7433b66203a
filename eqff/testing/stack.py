"""A small model with everything that needs whole structures: charges, their Coulomb energy, induced dipoles."""

from __future__ import annotations

import torch

from eqff.build import ModelContext, build_potential
from eqff.potential import Potential

ELEMENTS = (1, 6, 7, 8)


def charged_stack(seed: int = 0, dtype: torch.dtype = torch.float64) -> Potential:
    """Untrained, for tests of what uses models.

    Args:
        seed: Of its weights.
        dtype: Of its weights.
    """
    torch.manual_seed(seed)
    backbone = {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2, "cutoff": 3.0}
    heads = {
        "charges": {"_target_": "eqff.heads.charges.Charges", "hidden": 4},
        "polarizabilities": {
            "_target_": "eqff.heads.polarizabilities.Polarizabilities",
            "anisotropic": False,
            "hidden": 4,
            "start": {"H": 0.4, "C": 0.6, "N": 0.5, "O": 0.4},
        },
    }
    terms = {
        "local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4},
        "coulomb": {"_target_": "eqff.terms.coulomb.Coulomb", "short_range": "gaussian", "width": 1.0, "cutoff": 7.1},
        "induction": {"_target_": "eqff.terms.induction.Induction", "cutoff": 7.1},
        "zbl": {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 0.8, "outer": 1.6},
    }
    context = ModelContext(ELEMENTS, {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0})
    return build_potential({"backbone": backbone, "heads": heads, "terms": terms}, context, dtype)
