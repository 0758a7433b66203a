"""Which polynomials of functions on the sphere are computed, and by what."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, partial

import torch
from torch import Tensor

from eqff.kernels.call import Couplings, address, function, number, plan, threads
from eqff.kernels.capture import Constant, with_numbers
from eqff.kernels.generated import polynomials
from eqff.kernels.generated.code import GeneratedCode


class ProductPlan(Constant, ABC):
    """Polynomials of factors u, v, w: couplings of u v → t and of t w → p, up to three factors.

    Args:
        first: (middle, inputs, inputs): t_k = Σ first_kij u_i v_j.
        second: (outputs, middle, inputs): p_k = Σ second_kij t_i w_j.
        order: Most factors, 2 or 3.
        dtype: Of the numbers.
    """

    parts_in: int
    """Factors that stand side by side."""
    parts_scale: int
    """Weights of each channel."""
    parts_out: int
    """Results that stand side by side."""
    code: GeneratedCode
    """Made for the couplings."""
    make: Callable[[Tensor, Tensor, int], polynomials.Polynomial]
    """Writes them on a tape."""

    def __init__(self, first: Tensor, second: Tensor, order: int, dtype: torch.dtype):
        super().__init__(type(self).__name__, first, second, order, dtype)
        self._polynomial = partial(type(self).make, first, second, order)
        self.first, self.second, self.order = first.to(dtype), second.to(dtype), order
        self.outputs, self.middle, self.inputs = second.shape

    @cached_property
    def polynomial(self) -> polynomials.Polynomial:
        """What code is made from, for any device."""
        with with_numbers():
            return self._polynomial()

    def channels(self, factors: Tensor) -> int:
        """C."""
        return factors.shape[2] // self.parts_in

    @abstractmethod
    def takes(self, channels: int) -> bool:
        """Whether `run` can."""

    @abstractmethod
    def plain(self, factors: Tensor, scale: Tensor) -> Tensor:
        """The same as `eqff.kernels.products.products` in plain PyTorch."""

    @abstractmethod
    def run(self, name: str, read: Sequence[Tensor], written: Sequence[Tensor | None]) -> None:
        """Calls ``forward``, ``backward`` or ``twice``.

        Args:
            name: Of the function.
            read: Factors, scale and what else it reads.
            written: What it writes; the derivative by the scale may be None.
        """

    def plain_first(self, factors: Tensor, scale: Tensor, given: Tensor) -> tuple[Tensor, ...]:
        """Derivatives of <given, products> by factors and scale, in plain PyTorch."""
        inputs = [value if value.requires_grad else value.detach().requires_grad_() for value in (factors, scale)]
        return torch.autograd.grad(self.plain(*inputs), inputs, given, create_graph=True)

    def _powers(self, u: Tensor, v: Tensor, w: Tensor) -> list[Tensor]:
        """u, t and, if the order is 3, p, in plain PyTorch; (outputs, N, C) each."""
        first, second = self.first.to(u.device), self.second.to(u.device)
        middle = torch.einsum("kij,inc,jnc->knc", first, u, v)
        found = [u[: self.outputs], middle[: self.outputs]]
        return found if self.order == 2 else [*found, torch.einsum("kij,inc,jnc->knc", second, middle, w)]


class MixedPlan(ProductPlan):
    """From [u, v (, w)] to [u, t (, p)] · scale: code made for the couplings, else loops over their tables."""

    make = staticmethod(polynomials.mixed)

    def __init__(self, first: Tensor, second: Tensor, order: int, dtype: torch.dtype):
        super().__init__(first, second, order, dtype)
        self.parts_in = self.parts_scale = self.parts_out = order
        orders = [first.permute(axes) for axes in ((0, 1, 2), (1, 0, 2), (2, 0, 1))]
        orders += [second.permute(axes) for axes in ((0, 1, 2), (1, 0, 2), (2, 0, 1))]
        self._tables = [Couplings(table, dtype) for table in orders]
        self._structure = plan(self._tables, (self.inputs, self.outputs, self.middle, order))
        self._pointer = ctypes.cast(ctypes.pointer(self._structure), ctypes.c_void_p)
        self.code = GeneratedCode(lambda: self.polynomial, dtype)

    def takes(self, channels: int) -> bool:
        """Any number of channels."""
        return True

    def plain(self, factors: Tensor, scale: Tensor) -> Tensor:
        """See `ProductPlan.plain`."""
        parts = factors.unflatten(2, (self.order, -1)).unbind(dim=2)
        return torch.cat(self._powers(parts[0], parts[1], parts[-1]), dim=2) * scale

    def run(self, name: str, read: Sequence[Tensor], written: Sequence[Tensor | None]) -> None:
        """See `ProductPlan.run`."""
        channels = self.channels(read[0])
        if self.code.takes(channels):
            self.code.run(name, channels, read, written)
            return
        arrays = (address(value) for value in (*read, *written))
        called = function(f"products_{name}", read[0].dtype)
        called(self._pointer, number(read[0].shape[1]), number(channels), *arrays, threads())


class SymmetricPlan(ProductPlan):
    """From u to Σ_ν scale_νl · P^ν, P = u, t(u, u) and p(t, u); each degree l of the result has a scale of its own."""

    parts_in = parts_out = 1
    make = staticmethod(polynomials.symmetric)

    def __init__(self, first: Tensor, second: Tensor, order: int, dtype: torch.dtype):
        super().__init__(first, second, order, dtype)
        degrees = round(self.outputs**0.5)
        self.parts_scale = order * degrees
        self._degree = torch.tensor([l for l in range(degrees) for _ in range(2 * l + 1)])
        self.code = GeneratedCode(lambda: self.polynomial, dtype)

    def takes(self, channels: int) -> bool:
        """Only what code can be made for."""
        return self.code.takes(channels)

    def plain(self, factors: Tensor, scale: Tensor) -> Tensor:
        """See `ProductPlan.plain`."""
        powers = torch.stack(self._powers(factors, factors, factors))
        weights = scale.view(scale.shape[0], self.order, self.parts_scale // self.order, factors.shape[2])[
            :, :, self._degree
        ]
        return torch.einsum("vknc,nvkc->knc", powers, weights)

    def run(self, name: str, read: Sequence[Tensor], written: Sequence[Tensor | None]) -> None:
        """See `ProductPlan.run`."""
        self.code.run(name, self.channels(read[0]), read, written)
