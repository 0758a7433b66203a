"""Roots of matrices and their derivatives, at equal eigenvalues too."""

from __future__ import annotations

import pytest
import torch

from eqff.dispersion.mbd.matrix_sqrt import matrix_sqrt


def root(matrix: torch.Tensor) -> torch.Tensor:
    matrix = 0.5 * (matrix + matrix.mH)
    return matrix_sqrt(matrix, *torch.linalg.eigh(matrix.detach()))


def with_spectrum(spectrum: list[float], dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    vectors, _ = torch.linalg.qr(torch.randn(len(spectrum), len(spectrum), dtype=dtype, generator=generator))
    return (vectors * torch.tensor(spectrum, dtype=torch.float64)) @ vectors.mH


SPECTRA = {
    "distinct": [0.3, 1.0, 2.5, 7.0],
    "close": [1.0, 1.0 + 1e-12, 2.0, 2.0 + 1e-9],
    "equal": [1.0, 1.0, 1.0, 3.0],
    "all equal": [2.0, 2.0, 2.0, 2.0],
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=["real", "complex"])
@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA.keys())
def test_derivatives_to_third_order(spectrum: list[float], dtype: torch.dtype):
    """The derivative of the gradient is checked by gradgradcheck; once more, and the third is there too."""
    matrix = with_spectrum(spectrum, dtype).requires_grad_()
    assert torch.autograd.gradcheck(root, matrix, atol=1e-7)
    assert torch.autograd.gradgradcheck(root, matrix, atol=1e-6)

    def gradient(matrix: torch.Tensor) -> torch.Tensor:
        trace = root(matrix).diagonal(dim1=-2, dim2=-1).sum(-1).real
        return torch.autograd.grad(trace, matrix, create_graph=True)[0]

    assert torch.autograd.gradgradcheck(gradient, matrix, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=["real", "complex"])
def test_its_square_is_the_matrix(dtype: torch.dtype):
    matrix = torch.stack([with_spectrum(spectrum, dtype, seed) for seed, spectrum in enumerate(SPECTRA.values())])
    found = root(matrix)
    torch.testing.assert_close(found @ found, matrix, rtol=1e-13, atol=1e-13)


def test_trace_of_a_root_against_eigenvalues():
    """Where eigenvalues are distinct, PyTorch's own derivatives of them are right."""
    matrix = with_spectrum([0.3, 1.0, 2.5, 7.0], torch.float64).requires_grad_()

    def hessian(function):
        def energy(matrix):
            return function(0.5 * (matrix + matrix.T))

        return torch.autograd.functional.hessian(energy, matrix)

    ours = hessian(lambda m: root(m).trace())
    theirs = hessian(lambda m: torch.linalg.eigvalsh(m).sqrt().sum())
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)
