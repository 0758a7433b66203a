"""What a GPU's compiler makes of the Triton kernels, without a GPU: registers, spills, shared memory, instructions.

    python tools/gpu_kernels.py                                    # the flagship's, for an H100
    python tools/gpu_kernels.py --target cuda:80 --dtype float64
    python tools/gpu_kernels.py --target hip:gfx942

Operations are called with tensors without numbers, and what they would launch is compiled instead. It needs the package
triton; its wheel brings the compilers of both makers. On a GPU ``tools/fused_roofline.py`` times them, also beside
published kernels, whose machine code is their makers'.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import time
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from eqff.kernels.messages import FIRST, SECOND, SUM
from eqff.kernels.triton import bilinear, launch, messages
from eqff.nn.tensor_product import row_couplings

POINTERS = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int64: "*i64", torch.int32: "*i32"}
OPTIONS = ("num_warps", "enable_fp_fusion")
INSTRUCTIONS = {
    "cuda": ("LDG", "STG", "SHFL", "BAR", "[FD]FMA", "LDL", "STL"),
    "hip": ("global_load", "global_store", "scratch_"),
}
PASSES = {"first pass (1 → 9)": (1, 9), "later passes (4 → 9)": (4, 9), "hidden_degree=2 (9 → 9)": (9, 9)}
DEGREES = (1, 2, 2)


def compiler(target: GPUTarget):
    """What takes the place of a launch: compiles, and prints a line."""

    def run(self: JITFunction, *args, grid, warmup, **given):
        options = {name: given.pop(name) for name in OPTIONS if name in given}
        values = {**dict(zip(self.arg_names, args, strict=False)), **given}
        kinds = {name: "constexpr" if name in given else kind_of(value) for name, value in values.items()}
        aligned = {(at,): [["tt.divisibility", 16]] for at, name in enumerate(self.arg_names) if kinds[name][0] == "*"}
        source = ASTSource(self, signature=kinds, constexprs=given, attrs=aligned)
        start = time.perf_counter()
        compiled = triton.compile(source, target=target, options=options)
        name, used = self.fn.__name__.strip("_"), resources(compiled, target)
        sizes = " ".join(f"{name}={value}" for name, value in given.items())
        took = f"{time.perf_counter() - start:.0f} s to compile"
        print(f"  {name}: {used}\n      {sizes}, {options['num_warps']} warps, grid {tuple(grid)}, {took}", flush=True)

    return run


def kind_of(value: torch.Tensor | int) -> str:
    """Of an argument, as Triton writes it."""
    return POINTERS[value.dtype] if isinstance(value, torch.Tensor) else "i32"


def resources(compiled, target: GPUTarget) -> str:
    """Of one thread, and of a block of them."""
    if target.backend == "hip":
        text = compiled.asm["amdgcn"]
        used = {name: int(re.search(rf"\.{name}:\s*(\d+)", text)[1]) for name in ("vgpr_count", "vgpr_spill_count")}
        found = f"{used['vgpr_count']} registers, {used['vgpr_spill_count']} spilled"
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kernel.cubin"
            path.write_bytes(compiled.asm["cubin"])
            tool = [triton.knobs.nvidia.cuobjdump.path]
            used, text = (
                subprocess.run([*tool, what, path], check=True, capture_output=True, text=True).stdout
                for what in ("-res-usage", "-sass")
            )
        registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", used).groups()
        found = f"{registers} registers, {stack} bytes spilled"
    counts = {name: len(re.findall(rf"\b{name}", text)) for name in INSTRUCTIONS[target.backend]}
    counted = " ".join(f"{name}:{count}" for name, count in counts.items() if count)
    return f"{found}, {compiled.metadata.shared} bytes shared ({counted})"


def message_kernels(atoms: int, neighbours: int, channels: int, inputs: int, outputs: int, dtype: torch.dtype) -> None:
    """Launches those of the sum and of its derivatives."""
    count = atoms * neighbours
    with torch.device("meta"):
        index = [torch.empty(size, dtype=torch.int64) for size in (count, count, atoms + 1, atoms + 1, count)]
        shapes = {"T": (count, outputs * inputs), "R": (count, channels), "h": (inputs, atoms, channels)}
        shapes["g"] = shapes["A"] = outputs, atoms, channels
        shapes |= {name + "2": shape for name, shape in shapes.items() if name in "TRh"}
        shapes |= {f"by_{name}": shapes[name] for name in "TRh"}
        arrays = {name: torch.empty(shape, dtype=dtype) for name, shape in shapes.items()}
    for what in (SUM, FIRST, SECOND):
        messages.run(what, tuple(index), arrays["g"], arrays["h"], arrays)


def row_kernels(rows: int, dtype: torch.dtype) -> None:
    """Launches that of edges' matrices, and its derivatives'."""
    couplings = row_couplings(*DEGREES)
    for axes in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        sizes = (couplings.dense.shape[axis] for axis in axes)
        out, x, y = (torch.empty(rows, size, dtype=dtype, device="meta") for size in sizes)
        bilinear.run(couplings, x, y, axes, out)


def main() -> None:
    """Compiles and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="cuda:90", help="cuda:80, cuda:90, hip:gfx942, ...")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--atoms", type=int, default=5184)
    parser.add_argument("--neighbours", type=int, default=50)
    options = parser.parse_args()
    backend, arch = options.target.split(":")
    target = GPUTarget(backend, int(arch) if arch.isdigit() else arch, 64 if arch.startswith("gfx9") else 32)
    JITFunction.run = compiler(target)
    launch.lanes = lambda device: target.warp_size
    dtype = getattr(torch, options.dtype)
    print(f"Triton {triton.__version__}, {options.target}, {options.dtype}, {options.channels} channels")
    for name, (inputs, outputs) in PASSES.items():
        print(name)
        message_kernels(options.atoms, options.neighbours, options.channels, inputs, outputs, dtype)
    print("matrices of edges")
    row_kernels(options.atoms * options.neighbours, dtype)


if __name__ == "__main__":
    main()
