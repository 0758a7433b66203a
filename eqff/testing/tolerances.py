"""How exactly things must hold, and why that exactly: every number that the battery compares with."""

from __future__ import annotations

import torch

INVARIANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
"""Relative, for what is the same number in exact arithmetic (turned, moved, batched, permuted).

Rounding is 1e-16 and 6e-8 per operation; forces add up some hundred terms that cancel to a tenth or a hundredth of
their size, which leaves two more digits."""

FINITE_DIFFERENCE = 1e-6
"""Relative, float64. At a step of 5e-4 Å the five-point rule is off by about 1e-10 of a force that changes over 0.1 Å;
energies of 1e4 eV round to 1e-12 eV, so to 1e-9 eV/Å in a force."""

FINITE_DIFFERENCE_STEP = 5e-4
"""Å, or strain, or a relative change of parameters."""

SECOND_DERIVATIVE = 1e-5
"""Relative, float64: as for first derivatives, but of forces, which are larger and change faster."""

PRECISION = 2e-4
"""Relative, between float32 and float64 weights: every stage rounds to 6e-8, and forces cancel."""

COMPILED = 1e-5
"""Relative, float64: fused kernels may sum in another order and use other approximations of exp and the like."""

JUMP = 1e-3
"""Jump at a cutoff per variation within 0.1 Å around it. Over 2e-6 Å a continuous function changes by about 1e-5 of
that; a step is of the order of 1."""

FLOOR = 1e-2
"""eV, eV/Å, e, e·Å: below this size errors count as absolute, because what cancels to nothing leaves its rounding."""

TOTAL = {torch.float64: 1e-12, torch.float32: 1e-6}
"""e, of sums of charges: each is rounded once, to 6e-8 of itself in float32, and a structure has some ten of them."""
