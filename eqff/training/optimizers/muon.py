"""Muon for matrices, Adam for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration that drives singular values towards one [Jordan et al., 2024]."""


def orthogonalize(matrices: Tensor, iterations: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: U Vᵀ of each U S Vᵀ, singular values within about 0.7 to 1.2.

    Args:
        matrices: (batch, m, n).
        iterations: Newton-Schulz steps.
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.transpose(1, 2)
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-12)
    a, b, c = _NEWTON_SCHULZ
    for _ in range(iterations):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.transpose(1, 2)


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalized [Muon, Jordan et al. 2024] for stacks of matrices, Adam for all other parameters.

    torch.optim.Muon takes single matrices only; equivariant layers hold one matrix for each degree in one tensor, and
    here all matrices of one shape are orthogonalized together. A parameter counts as a (stack of) matrices when its
    last two dimensions are at least ``smallest_matrix`` and its name doesn't say embedding or species.

    Args:
        params: Parameters or groups; a group's ``matrix`` says which rule it follows.
        lr: Learning rate of matrices: the size of an update's singular values.
        adam_lr: Learning rate of everything else.
        momentum: Of matrices.
        betas: Of Adam.
        eps: Of Adam.
        weight_decay: Decoupled, relative to the learning rate.
    """

    smallest_matrix = 8

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        adam_lr: float = 0.01,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        if lr <= 0 or adam_lr <= 0:
            raise ValueError(f"learning rates must be positive, not lr={lr}, adam_lr={adam_lr}")
        defaults = dict(lr=lr, momentum=momentum, betas=tuple(betas), eps=eps, weight_decay=weight_decay, matrix=False)
        groups = [dict(group) if isinstance(group, Mapping) else {"params": [group]} for group in params]
        for group in groups:
            if not group.get("matrix", False):
                group.setdefault("lr", adam_lr)
        super().__init__(groups, defaults)

    @classmethod
    def group_options(cls, name: str, parameter: Tensor) -> dict[str, Any]:
        """Which rule a parameter follows; see `eqff.training.optimizers.groups.parameter_groups`."""
        large = parameter.ndim >= 2 and min(parameter.shape[-2:]) >= cls.smallest_matrix
        return {"matrix": large and "embedding" not in name and "species" not in name}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Torch and Lightning leave counts of steps on the CPU; the fused update reads them where parameters are."""
        super().load_state_dict(state_dict)
        for parameter, state in self.state.items():
            if "step" in state:
                state["step"] = state["step"].to(parameter.device)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One update of every group."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            with_gradient = [p for p in group["params"] if p.grad is not None]
            if with_gradient:
                (self._update_matrices if group["matrix"] else self._update_others)(group, with_gradient)
        return loss

    def _update_matrices(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])
        shapes: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        for parameter, direction in zip(parameters, self._nesterov(parameters, group["momentum"]), strict=True):
            shapes.setdefault(tuple(parameter.shape[-2:]), []).append((parameter, direction))
        for (rows, columns), same in shapes.items():
            stack = torch.cat([direction.reshape(-1, rows, columns) for _, direction in same])
            update = orthogonalize(stack) * max(1.0, columns / rows) ** 0.5
            pieces = update.split([p.numel() // (rows * columns) for p, _ in same])
            changes = [piece.reshape(p.shape) for (p, _), piece in zip(same, pieces, strict=True)]
            torch._foreach_add_([p for p, _ in same], changes, alpha=-group["lr"])

    def _nesterov(self, parameters: list[Tensor], momentum: float) -> tuple[Tensor, ...]:
        """Gradients with momentum, one step ahead."""
        for parameter in parameters:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        gradients, averages = [p.grad for p in parameters], [self.state[p]["momentum"] for p in parameters]
        torch._foreach_lerp_(averages, gradients, 1.0 - momentum)
        return torch._foreach_lerp(gradients, averages, momentum)

    def _update_others(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] |= {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        states = [self.state[p] for p in parameters]
        steps = [s["step"] for s in states]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            parameters,
            [p.grad for p in parameters],
            [s["exp_avg"] for s in states],
            [s["exp_avg_sq"] for s in states],
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
