"""tools/select_frames.py: from files to a file, and refusals in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io import read, write

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import save_model
from eqff.testing.structures import molecule

TOOLS = Path(__file__).parents[2] / "tools"
CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
}
CONTEXT = ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0})


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import select_frames

    return select_frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("selection")
    for seed in range(2):
        torch.manual_seed(seed)
        potential = build_potential(CONFIG, CONTEXT, torch.float64)
        save_model(path / f"{seed}.safetensors", potential, model_config=CONFIG, context=CONTEXT)
    write(path / "pool.extxyz", [molecule(seed, 5) for seed in range(12)])
    return path


def run(tool, folder, *more):
    target = folder / "chosen.extxyz"
    return tool.main([str(folder / "pool.extxyz"), str(target), *map(str, more)]), target


def test_from_files_to_a_file(tool, folder, capsys):
    models = [folder / "0.safetensors", folder / "1.safetensors"]
    code, target = run(tool, folder, "--count", 4, "--model", *models)
    assert code == 0 and "4 of 12 structures" in capsys.readouterr().err
    pool, images = (read(path, index=":") for path in (folder / "pool.extxyz", target))
    for atoms in images:
        np.testing.assert_allclose(atoms.positions, pool[atoms.info["pool_index"]].positions, atol=1e-7)
    target.rename(folder / "known.extxyz")
    code, target = run(tool, folder, "--count", 99, "--strategy", "random", "--known", folder / "known.extxyz")
    again = {atoms.info["pool_index"] for atoms in read(target, index=":")}
    assert again == set(range(12)) - {atoms.info["pool_index"] for atoms in images}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "--count is 0"),
        (["--count", "3"], "needs a model"),
        (["--count", "3", "--model", "{folder}/0.safetensors"], "needs a model that knows how uncertain it is"),
        (["--count", "3", "--strategy", "best"], "no strategy 'best'"),
        (["--count", "3", "--strategy", "worst_clusters", "--model", "{folder}/0.safetensors"], "give --errors"),
    ],
)
def test_refusals(tool, folder, arguments, message, capsys):
    code, _ = run(tool, folder, *(text.format(folder=folder) for text in arguments))
    assert code == 2 and message in " ".join(capsys.readouterr().err.split())


def test_no_tool_hides_a_module_of_python():
    import sys

    assert not {path.stem for path in TOOLS.glob("*.py")} & sys.stdlib_module_names
