"""Atoms on a mesh: Φ = Σ C_abc x_ak y_bl z_cm mesh[k, l, m], and its derivatives, which are closed.

x, y and z are splines and their derivatives along the three directions, C what products of them are multiplied with.
Reading is the derivative of Φ by C, spreading that by the mesh; each derivative of these, to any order, is one of them
or the derivative of Φ by the splines, for other arrays. Arrays are float64 on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from eqff.kernels.call import address, function, number, require, threads
from eqff.kernels.choice import fused, own_derivatives
from eqff.kernels.rules import needed, plain_gradients
from eqff.nn.reduce import segment_sum

READ, SPREAD, BY_SPLINES = 0, 1, 2
SHAPES = {(6, 1), (8, 1), (8, 2), (8, 3)}
"""Orders of splines and how many of their derivatives there is code for, themselves included."""


def takes(splines: Tensor) -> bool:
    """Whether there is code for splines (M, 3, n, p)."""
    there = splines.shape[3:] + splines.shape[2:3] in SHAPES
    return there and splines.device.type == "cpu" and splines.dtype == torch.float64 and fused(splines)


def read(mesh: Tensor, splines: Tensor, points: Tensor) -> Tensor:
    """Σ x_ak y_bl z_cm mesh[k, l, m], (M, n, n, n).

    Args:
        mesh: Flat, (size,).
        splines: And derivatives along each direction, (M, 3, n, p).
        points: Of the mesh that each atom has, (M, p³) int64.
    """
    return _Read.apply(mesh, splines, points)


def spread(coefficients: Tensor, splines: Tensor, points: Tensor, size: int) -> Tensor:
    """Σ over atoms of C_abc x_ak y_bl z_cm at their points of a mesh, (size,); arguments else as of `read`."""
    return _Spread.apply(coefficients, splines, points, size)


def plain_read(mesh: Tensor, splines: Tensor, points: Tensor) -> Tensor:
    """`read` in plain PyTorch."""
    x, y, z = splines.unbind(dim=1)
    count, order = splines.shape[2:]
    values = mesh.index_select(0, points.flatten()).reshape(-1, order, order * order)
    values = (x @ values).reshape(-1, count, order, order)
    return y[:, None] @ values @ z[:, None].transpose(2, 3)


def plain_spread(coefficients: Tensor, splines: Tensor, points: Tensor, size: int) -> Tensor:
    """`spread` in plain PyTorch."""
    x, y, z = splines.unbind(dim=1)
    values = y.transpose(1, 2)[:, None] @ (coefficients @ z[:, None])  # (M, x, order, order)
    values = x.transpose(1, 2) @ values.flatten(2)
    return segment_sum(values.flatten(), points.flatten(), size)


def _run(what: int, points: Tensor, splines: Tensor, coefficients: Tensor, mesh: Tensor, by: Tensor | None) -> None:
    """Writes into ``coefficients``, ``mesh`` or ``by``, which are contiguous then."""
    atoms, _, count, order = splines.shape
    require(points.shape == (atoms, order**3) and points.dtype == torch.int64, points, splines)
    require(coefficients.numel() == atoms * count**3 and mesh.dim() == 1, coefficients, mesh)
    require(coefficients.dtype == mesh.dtype == splines.dtype == torch.float64, coefficients, mesh, splines)
    splines, coefficients, mesh = splines.contiguous(), coefficients.contiguous(), mesh.contiguous()
    require(points.is_contiguous(), points)
    code = function("mesh_form")(
        *(what, order, count, number(atoms), number(mesh.numel())),
        *(address(array) for array in (points, splines, coefficients, mesh, by)),
        threads(),
    )
    require(code == 0, points, splines, mesh)


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mesh: Tensor, splines: Tensor, points: Tensor) -> Tensor:
        ctx.save_for_backward(mesh, splines, points)
        out = splines.new_empty(splines.shape[0], *[splines.shape[2]] * 3)
        _run(READ, points, splines, out, mesh, None)
        return out

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        mesh, splines, points = ctx.saved_tensors
        if not own_derivatives(given):
            return *plain_gradients(lambda *of: [plain_read(*of, points)], (mesh, splines), [given]), None
        mesh_asked, splines_asked, _ = needed(ctx)
        by_mesh = _Spread.apply(given, splines, points, mesh.numel()) if mesh_asked else None
        return by_mesh, _BySplines.apply(given, mesh, splines, points) if splines_asked else None, None


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, splines: Tensor, points: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(coefficients, splines, points)
        ctx.size = size
        out = splines.new_zeros(size)
        _run(SPREAD, points, splines, coefficients, out, None)
        return out

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        coefficients, splines, points = ctx.saved_tensors
        if not own_derivatives(given):
            size = ctx.size
            found = plain_gradients(lambda *of: [plain_spread(*of, points, size)], (coefficients, splines), [given])
            return *found, None, None
        coefficients_asked, splines_asked, *_ = needed(ctx)
        by_coefficients = _Read.apply(given, splines, points) if coefficients_asked else None
        by_splines = _BySplines.apply(coefficients, given, splines, points) if splines_asked else None
        return by_coefficients, by_splines, None, None


class _BySplines(torch.autograd.Function):
    """dΦ by the splines, (M, 3, n, p)."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, mesh: Tensor, splines: Tensor, points: Tensor) -> Tensor:
        ctx.save_for_backward(coefficients, mesh, splines, points)
        out = splines.new_empty(splines.shape)
        _run(BY_SPLINES, points, splines, coefficients, mesh, out)
        return out

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        coefficients, mesh, splines, points = ctx.saved_tensors
        if not own_derivatives(given):
            return *plain_gradients(_plain_by_splines(points), (coefficients, mesh, splines), [given]), None
        # Φ is linear in the splines of each direction: those of one are replaced by what is given, three times
        own = torch.eye(3, dtype=torch.bool, device=given.device)[:, None, :, None, None]
        replaced = torch.where(own, given, splines)
        by_coefficients, by_mesh, by_splines = None, None, None
        asked = needed(ctx)
        if asked[0]:
            by_coefficients = sum(_Read.apply(mesh, each, points) for each in replaced)
        if asked[1]:
            by_mesh = sum(_Spread.apply(coefficients, each, points, mesh.numel()) for each in replaced)
        if asked[2]:
            found = [_BySplines.apply(coefficients, mesh, each, points) for each in replaced]
            by_splines = sum(torch.where(mask, 0.0, each) for mask, each in zip(own, found, strict=True))
        return by_coefficients, by_mesh, by_splines, None


def _plain_by_splines(points: Tensor) -> Callable[..., Sequence[Tensor]]:
    def by_splines(coefficients: Tensor, mesh: Tensor, splines: Tensor) -> Sequence[Tensor]:
        with torch.enable_grad():
            splines = splines if splines.requires_grad else splines.detach().requires_grad_()
            form = (coefficients * plain_read(mesh, splines, points)).sum()
            return torch.autograd.grad(form, [splines], create_graph=True)

    return by_splines
