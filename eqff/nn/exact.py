"""Constants that keep float64 whatever the precision of the model around them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class ExactModule(nn.Module):
    """Its floating buffers move between devices and keep their precision: energies of 1e4 eV need more than float32."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ExactModule:
        exact = {name: buffer for name, buffer in self.named_buffers(recurse=False) if buffer.is_floating_point()}
        super()._apply(fn, recurse)
        for name, buffer in exact.items():
            setattr(self, name, buffer.to(getattr(self, name).device))
        return self
