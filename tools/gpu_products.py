"""What a GPU's compiler makes of many-body products' kernels, without a GPU: registers, spills, time to compile.

    python tools/gpu_products.py                                   # the flagship's, for an H100
    python tools/gpu_products.py symmetric:2:1 mixed:3:2 --target hip:gfx942 --dtype float64

Products are named by kind, degree of the sums and degree of the features, all of three factors at most.
"""

from __future__ import annotations

import argparse

import torch
from gpu_kernels import compiler
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from eqff.kernels.product_plans import MixedPlan, SymmetricPlan
from eqff.kernels.triton import launch, products
from eqff.nn.many_body import product_plan

KINDS = {"mixed": MixedPlan, "symmetric": SymmetricPlan}
ORDER, ATOMS, CHANNELS = 3, 5184, 64


def product_kernels(name: str, dtype: torch.dtype) -> None:
    """Launches those of a product and of its derivatives."""
    kind, degree_in, degree_out = name.split(":")
    plan = product_plan(int(degree_in), int(degree_out), ORDER, dtype, KINDS[kind])
    if not products.takes(plan, CHANNELS, dtype):
        return
    with torch.device("meta"):
        factors = torch.empty(plan.inputs, ATOMS, plan.parts_in * CHANNELS, dtype=dtype)
        scale = torch.empty(ATOMS, plan.parts_scale * CHANNELS, dtype=dtype)
        out = torch.empty(plan.outputs, ATOMS, plan.parts_out * CHANNELS, dtype=dtype)
    products.run(plan, "forward", (factors, scale), (out,))
    products.run(plan, "backward", (factors, scale, out), (factors, None))
    products.run(plan, "backward", (factors, scale, out), (factors, scale))
    products.run(plan, "twice", (factors, scale, out, factors), (factors, scale, out))


def main() -> None:
    """Compiles and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("products", nargs="*", default=["mixed:2:2", "mixed:2:0"])
    parser.add_argument("--target", default="cuda:90", help="cuda:80, cuda:90, hip:gfx942, ...")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    options = parser.parse_args()
    backend, arch = options.target.split(":")
    target = GPUTarget(backend, int(arch) if arch.isdigit() else arch, 64 if arch.startswith("gfx9") else 32)
    JITFunction.run = compiler(target)
    products.lanes = launch.lanes = lambda device: target.warp_size
    for name in options.products:
        print(f"{name}, {options.target}, {options.dtype}")
        product_kernels(name, getattr(torch, options.dtype))


if __name__ == "__main__":
    main()
