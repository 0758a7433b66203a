"""TF32 holds while a GPU trains and is gone afterwards; where it can't do anything, that is said."""

import pytest
import torch

from eqff.errors import ConfigError
from eqff.training.matmul import check_tf32, tf32_products


def allowed():
    return torch.backends.cuda.matmul.allow_tf32


def test_it_ends_with_training_whatever_happens():
    assert not allowed()
    with pytest.raises(ZeroDivisionError), tf32_products(True, "cuda"):
        assert allowed()
        raise ZeroDivisionError
    assert not allowed()


def test_it_is_off_by_default():
    with tf32_products(False, "cuda"):
        assert not allowed()


def test_a_cpu_has_none_and_says_so(caplog):
    with tf32_products(True, "cpu"):
        assert not allowed()
    assert "no effect" in caplog.text
    caplog.clear()
    with tf32_products(False, "cpu"):
        pass
    assert not caplog.text


def test_double_precision_has_no_tf32():
    check_tf32(True, "float32"), check_tf32(False, "float64")
    with pytest.raises(ConfigError, match="dtype=float64"):
        check_tf32(True, "float64")
