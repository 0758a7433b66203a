"""Published data sets that lie beside the checkout read out of the box; skipped where there are none."""

import os
from pathlib import Path

import pytest

from eqff.data.reading import read_frames
from eqff.data.set_checks import check_set
from eqff.errors import DataError

SETS = Path(os.environ.get("EQFF_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(not SETS.is_dir(), reason=f"no data sets in {SETS} (set EQFF_DATA)")

LABELS = {
    "rmd17_aspirin/train.extxyz.gz": {"energy", "forces"},
    "ag3_ions/train.extxyz.gz": {"energy", "forces", "dipole"},
    "aimnet_nse_chembl20/test.extxyz.gz": {"energy", "charges", "spin_charges"},
    "carbene_spin/train.extxyz.gz": {"energy", "forces", "dipole"},
    "water_rpbe_charges/test.extxyz.gz": {"energy", "forces", "charges"},
    "qm7b_response/test.extxyz": {"dipole", "polarizability"},
    "spice_dipeptides/val.extxyz.gz": {"energy", "forces", "charges", "dipole"},
    "charged_dimers/train.extxyz": {"energy", "forces"},
}


@pytest.mark.parametrize("name", LABELS)
def test_out_of_the_box(name):
    if not (SETS / name).is_file():
        pytest.skip(f"no {name}")
    frames = read_frames(f"{SETS / name}@:20")
    assert set(frames[0].labels) == LABELS[name]
    check_set(frames)


def test_what_a_file_does_not_say_has_to_be_said():
    path = SETS / "mad_small" / "test.extxyz"
    if not path.is_file():
        pytest.skip("no mad_small")
    with pytest.raises(DataError, match="total charge is nowhere given"):
        read_frames(path)
    frames = read_frames(path, total_charge=0, multiplicity="lowest")
    assert frames[0].stress.shape == (1, 3, 3) and {int(frame.multiplicity) for frame in frames} == {1, 2}
