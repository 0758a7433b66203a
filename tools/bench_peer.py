"""Runs a peer's timing script, with modes and devices that the script itself doesn't have:
python tools/bench_peer.py NAME --task ... in the peer's environment, PEERS_FOLDER names the folder of bench_NAME.py.

NequIP gets ``--mode aot``: the file that ``nequip-compile --mode aotinductor --target ase`` makes of the model, in its
own calculator; it is kept under ``TORCHINDUCTOR_CACHE_DIR`` for later runs. With BENCH_DEVICE=cuda models and
inputs are moved there, and clocks wait for the device. Everything else is the script's own.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

if "PEERS_FOLDER" not in os.environ:
    raise SystemExit("Set PEERS_FOLDER to the folder with the peers' scripts.")
sys.path.insert(0, os.environ["PEERS_FOLDER"])

DEVICE = os.environ.get("BENCH_DEVICE", "cpu")


def on_device(value: Any) -> Any:
    """Tensors, and dictionaries of them, on the device that is timed; anything else as it is."""
    if isinstance(value, dict):
        return {name: on_device(part) for name, part in value.items()}
    return value.to(DEVICE) if hasattr(value, "to") else value


def waiting(function: Any) -> Any:
    """A function whose end is that of the kernels that it has started."""
    import torch

    if DEVICE == "cpu" or function is None:
        return function

    def timed(k: int) -> None:
        function(k)
        torch.cuda.synchronize()

    return timed


def with_device(peer: type) -> type:
    """A peer's class that builds, collates and calls on ``DEVICE``."""

    class OnDevice(peer):  # type: ignore[misc, valid-type]
        def build(self, config: str, species: list[int]) -> Any:
            return super().build(config, species).to(DEVICE)

        def data(self, atoms: Any) -> Any:
            return on_device(super().data(atoms))

        def batch(self, frames: Any) -> Any:
            return on_device(super().batch(frames))

        def train_step(self, model: Any, batches: Any) -> Any:
            return waiting(super().train_step(model, batches))

        def infer(self, model: Any, atoms: Any) -> Any:
            return tuple(waiting(function) for function in super().infer(model, atoms))

    return OnDevice


def with_nequip_file(peer: type) -> type:
    """NequIP's class with ``--mode aot``."""

    class WithFile(peer):  # type: ignore[misc, valid-type]
        def infer(self, model: Any, atoms: Any) -> Any:
            if self.args.mode != "aot":
                return super().infer(model, atoms)
            import common
            from nequip.integrations.ase import NequIPCalculator

            data = self.data(atoms)
            loaded = nequip_file(model.eval(), data, self.config, self.types)
            calculator = NequIPCalculator(loaded, device=DEVICE, transforms=self.transforms())

            def alone(k: int) -> None:
                calculator.call_model(data)

            return alone, common.ase_caller(atoms, calculator, bool(atoms.pbc.any()))

    return WithFile


def nequip_file(model: Any, data: Any, config: str, types: list[str]) -> Any:
    """The model as ``nequip-compile --mode aotinductor --target ase`` leaves it, loaded as its calculator loads it.

    Steps and settings are those of ``nequip.scripts.compile``, which takes its model from a checkpoint only. The file
    has dynamic numbers of atoms and edges; it is exported for the first structure that it is asked for and kept.
    """
    import pathlib

    import torch
    from nequip.model.inference_models.aotinductor import load_aotinductor_model
    from nequip.scripts._compile_utils import AOTI_ASE_TARGET, COMPILE_TARGET_DICT
    from nequip.utils.aot import aot_export_model

    target = COMPILE_TARGET_DICT[AOTI_ASE_TARGET]
    folder = pathlib.Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR", ".")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{config}_{'-'.join(types)}_{DEVICE}_{torch.get_num_threads()}.nequip.pt2"
    fields = target["input"], target["output"]
    if not path.is_file():
        dims = {name: torch.export.Dim(f"num_{name}s", min=2) for name in ("node", "edge")}
        torch._inductor.config.cpp.threads = torch.get_num_threads()
        aot_export_model(
            model=model,
            device=DEVICE,
            input_fields=fields[0],
            output_fields=fields[1],
            data=target["data_settings"](dict(data)),
            batch_map=target["batch_map_settings"]({"graph": None, **dims}),
            output_path=str(path),
            inductor_configs={"aot_inductor.metadata": metadata(model, fields)},
        )
    loaded, _ = load_aotinductor_model(str(path), DEVICE, *fields)
    return loaded.eval()


def metadata(model: Any, fields: tuple[list[str], list[str]]) -> dict[str, str]:
    """What ``nequip-compile`` writes into its file."""
    from nequip.utils.aoti_metadata import NEQUIP_AOTI_INPUTS_KEY, NEQUIP_AOTI_OUTPUTS_KEY, serialize_aoti_keys
    from nequip.utils.global_state import get_latest_global_state

    told = model.metadata.copy() | get_latest_global_state(only_metadata_related=True)
    told = {name: str(int(value)) if isinstance(value, bool) else str(value) for name, value in told.items()}
    keys = zip((NEQUIP_AOTI_INPUTS_KEY, NEQUIP_AOTI_OUTPUTS_KEY), fields, strict=True)
    return told | {name: serialize_aoti_keys(each) for name, each in keys}


def main() -> None:
    """Runs the script of the peer that the first argument names, with the other arguments."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        raise SystemExit(__doc__)
    name = sys.argv.pop(1)
    import common
    from benchmarks.sizes import add_batches

    add_batches(common.wl, ",".join(sys.argv))
    script = importlib.import_module(f"bench_{name}")
    peer = next(
        value
        for value in vars(script).values()
        if isinstance(value, type) and issubclass(value, common.Peer) and value is not common.Peer
    )
    if DEVICE != "cpu":
        peer = with_device(peer)
    if name == "nequip":
        peer = with_nequip_file(peer)
    common.main(peer)


if __name__ == "__main__":
    main()
