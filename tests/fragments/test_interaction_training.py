"""A training on interaction energies, from files with fragments to a model file."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write
from broken.commands import composed, with_values

import eqff
from eqff.data.reading import read_frames
from eqff.evaluation.predictions import predict
from eqff.train import train
from eqff.training.quiet import quiet_libraries


def dimers(count: int):
    """Pairs of water and hydrogen fluoride, with made-up energies and parts of them."""
    rng = np.random.default_rng(0)
    for index in range(count):
        both = molecule("H2O") + molecule("HF")
        both.positions[3:] += np.array([2.5 + 0.1 * index, 0, 0]) + 0.1 * rng.normal(size=3)
        both.arrays["fragment"] = np.repeat([0, 1], [3, 2])
        part = -0.3 * np.exp(-0.1 * index)
        both.info = {"total_charge": 0, "multiplicity": 1, "group": f"pair{index % 4}", "interaction_energy": part}
        both.info |= {"sapt_elst": 1.5 * part, "sapt_exch": -part, "sapt_ind": 0.3 * part, "sapt_disp": 0.2 * part}
        yield both


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "dimers.extxyz"
    write(path, list(dimers(12)))
    return path


def test_interaction_energies_are_trained_on(file, tmp_path):
    """No energies of elements enter, parts have errors of their own, and the model file gives the same energies."""
    quiet_libraries()
    choices = ("data=dimers", "model=ap_net", "training/losses=sapt", "tracking=none")
    small = ["channels=4", "num_passes=1", "degree=2", "hidden_degree=1", "order=2"]
    cfg = with_values(
        composed("train", choices),
        [
            f"data.path={file}",
            f"data.cache={tmp_path / 'cache'}",
            "data.split.val=3",
            "data.batch_size=3",
            "trainer.max_steps=6",
            "figures=false",
            "trainer.enable_progress_bar=false",
            "trainer.accelerator=cpu",
            f"output={tmp_path / 'run'}",
            *(f"model.backbone.{text}" for text in small),
            *(f"model.terms.{name}.hidden=4" for name in ("electrostatics", "exchange", "induction", "dispersion")),
        ],
    )
    train(cfg)
    model = eqff.load(tmp_path / "run")
    assert set(model.metadata.model_context().reference_energies.values()) == {0.0}
    frames = read_frames(file, keys={"interaction_energy": "energy"})
    labels = ("energy", "sapt_elst", "sapt_exch", "sapt_ind", "sapt_disp")
    for prediction in predict(model, frames, labels=labels):
        parts = sum(float(prediction.labels[name]) for name in labels[1:])
        assert float(prediction.labels["energy"]) == pytest.approx(parts, rel=1e-9)
    header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0]
    assert "val/sapt_ind_mae" in header
