"""Splits: seeded, by group, published."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqff.data.splits import NAMES, read_split, split_indices, write_split
from eqff.errors import ConfigError, DataError


@given(number=st.integers(3, 200), seed=st.integers(0, 1000), val=st.floats(0, 0.4), test=st.floats(0, 0.4))
def test_every_frame_is_in_one_part(number, seed, val, test):
    parts = split_indices(number, val=val, test=test, seed=seed)
    assert sorted(index for name in NAMES for index in parts[name]) == list(range(number))
    assert len(parts["val"]) == round(val * number) and len(parts["test"]) == round(test * number)
    assert parts == split_indices(number, val=val, test=test, seed=seed)


def test_the_seed_matters_and_counts_are_met():
    first = split_indices(100, train=30, val=20, test=10, seed=1)
    assert {name: len(first[name]) for name in NAMES} == {"train": 30, "val": 20, "test": 10}
    assert first != split_indices(100, train=30, val=20, test=10, seed=2)


@given(
    groups=st.lists(st.sampled_from("abcdefgh"), min_size=10, max_size=60).filter(lambda g: len(set(g)) >= 3),
    seed=st.integers(0, 1000),
)
def test_groups_are_never_torn_apart(groups, seed):
    parts = split_indices(len(groups), val=0.2, test=0.2, seed=seed, groups=groups)
    owners = {name: {groups[index] for index in parts[name]} for name in NAMES}
    assert not (owners["train"] & owners["val"] or owners["train"] & owners["test"] or owners["val"] & owners["test"])
    assert all(parts[name] for name in NAMES)
    assert sorted(index for name in NAMES for index in parts[name]) == list(range(len(groups)))


def test_group_sizes_come_near_what_was_asked():
    groups = [f"molecule {index // 5}" for index in range(500)]
    parts = split_indices(500, val=0.1, test=0.2, groups=groups)
    assert abs(len(parts["val"]) - 50) <= 5 and abs(len(parts["test"]) - 100) <= 5


def test_one_group_cannot_be_split():
    with pytest.raises(DataError, match="Can't split 1 group.*split.by=null"):
        split_indices(10, groups=["a"] * 10)


@pytest.mark.parametrize("sizes", [{"val": 10}, {"train": 8, "val": 3}, {"val": 0.6, "test": 0.6}])
def test_too_much_is_refused(sizes):
    with pytest.raises(DataError, match="Can't split 10 frames"):
        split_indices(10, **sizes)


@pytest.mark.parametrize("size", [1.5, 1.0])
def test_sizes_that_are_neither_share_nor_count(size):
    """1.0 is meant as a share, and would be one frame."""
    with pytest.raises(ConfigError, match=f"split.train is {size}.*null for all that remain"):
        split_indices(10, train=size)
    assert len(split_indices(10, train=1)["train"]) == 1


def test_round_trip_through_a_file(tmp_path):
    parts = split_indices(50, val=5, test=10, seed=4)
    write_split(tmp_path / "splits.json", parts, data_hash="abc")
    assert read_split(tmp_path / "splits.json", 50) == parts
    assert json.loads((tmp_path / "splits.json").read_text())["data_hash"] == "abc"


def test_published_formats(tmp_path):
    np.savez(tmp_path / "a.npz", train_idx=[0, 3], val_idx=[1], test_idx=[2])
    expected = {"train": [0, 3], "val": [1], "test": [2]}
    assert read_split(tmp_path / "a.npz", 4) == expected
    for name, content in {"train": "0\n3\n", "test": "2\n"}.items():
        (tmp_path / f"index_{name}_01.csv").write_text(content)
    texts = {name: tmp_path / f"index_{name}_01.csv" for name in ("train", "test")}
    assert read_split(texts, 4) == expected | {"val": []}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": [0, 9]}, "index 9 is outside of the 4 frames"),
        ({"train": [0, 1], "val": [1]}, "frame 1 is in 'train' and again in 'val'"),
        ({"train": [0, 0]}, "frame 0 is in 'train' and again in 'train'"),
        ({"trian": [0]}, "no training indices.*Known: trian"),
        ({"train": [0], "idx_train": [1]}, "both 'train' and 'idx_train' may be the train set"),
        ({"train": ["a.xyz"]}, "'train' should hold whole numbers, .* begins with .*a.xyz"),
        ({"train": [0.5, 1]}, "'train' should hold whole numbers"),
    ],
)
def test_bad_split_files(tmp_path, content, message):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_split(tmp_path / "a.json", 4)
