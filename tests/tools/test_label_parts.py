"""Labelling in parts gives what labelling at once gives, in the same order."""

import sys
from pathlib import Path

import numpy as np
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import read, write

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import label_parts


def test_parts_are_merged_in_the_order_of_the_input_and_not_computed_twice(tmp_path):
    frames = []
    for index in range(5):
        atoms = molecule("H2O")
        atoms.positions[0, 2] += 0.02 * index
        atoms.info = {"total_charge": 0, "multiplicity": 1}
        frames.append(atoms)
    write(tmp_path / "in.extxyz", frames)
    argv = [str(tmp_path / "in.extxyz"), str(tmp_path / "out.extxyz"), "--parts", "2", "--workers", "2", "--"]
    argv += ["--method", "ase", "--calculator", "ase.calculators.emt:EMT", "--workers", "0"]
    assert label_parts.main(argv) == 0
    found = read(tmp_path / "out.extxyz", ":")
    for atoms, labelled in zip(frames, found, strict=True):
        atoms.calc = EMT()
        np.testing.assert_allclose(labelled.positions, atoms.positions, atol=1e-8)
        np.testing.assert_allclose(labelled.get_potential_energy(), atoms.get_potential_energy(), atol=1e-7)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out.extxyz.parts").glob("*.labelled.extxyz")}
    assert len(before) == 2 and label_parts.main(argv) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
