"""The roofline note of the model that tools/bench_eqff.py times."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import bench_eqff
import torch

from benchmarks import ceilings
from benchmarks import roofline as kernels


def roofline(config: str, workloads: Sequence[str], threads: int, device: str) -> str:
    """Markdown for each workload: kernels one by one, then energy and forces as a whole.

    Args:
        config: Of tools/bench_eqff.py.
        workloads: Structures of the harness.
        threads: Of torch.
        device: "cpu" or "cuda".
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    found = ceilings.measure(device)
    texts = [f"Ceilings, {threads} thread(s), {device}: {found}."]
    for name in workloads:
        peer = bench_eqff.Eqff(argparse.Namespace(mode="eager", task="infer", seed=0))
        atoms = bench_eqff.common.wl.system(name)
        model = peer.build(config, sorted({int(z) for z in atoms.numbers}))
        alone, _ = peer.infer(model, atoms)
        works = kernels.record(model, lambda run=alone: run(0))
        kernels.timed(works, device)
        with kernels.Counter() as counter:
            alone(0)
        seconds = ceilings.seconds_of(lambda run=alone: run(0), device)
        least = found.seconds(counter.flops, sum(work.bytes for work in works.values()))
        texts.append(f"**{name}**, {len(atoms)} atoms\n\n{kernels.table(works, found)}")
        texts.append(
            f"Energy and forces as a whole, eager: {1e3 * seconds:.3g} ms for {counter.flops / 1e6:.3g} MFLOP, "
            f"{counter.flops / seconds / 1e9:.3g} GFLOP/s; {100 * least / seconds:.0f} % of the binding ceiling."
        )
        if absent := kernels.missing(works):
            texts.append(f"Not seen as modules of this model: {', '.join(absent)}.")
    return "\n\n".join(texts)


__all__ = ["roofline"]
