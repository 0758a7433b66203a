"""How the battery turns fields: by vectors whose turning is known."""

import pytest
import torch

from eqff.data.fields import FIELDS, Field
from eqff.testing.frames import random_orthogonal, turn_features, turn_field, turn_matrix

ROTATION, REFLECTION = random_orthogonal(1), random_orthogonal(2, reflect=True)
VECTORS = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def turned(vectors, matrix):
    return vectors @ torch.as_tensor(matrix).T


def outer(vectors):
    return vectors[:, :, None] * vectors[:, None, :]


@pytest.mark.parametrize("matrix", [ROTATION, REFLECTION], ids=["rotation", "reflection"])
class TestTurnField:
    def test_scalar_stays(self, matrix):
        assert torch.equal(turn_field(VECTORS[:, 0], FIELDS["charges"], matrix), VECTORS[:, 0])

    def test_vector(self, matrix):
        torch.testing.assert_close(turn_field(VECTORS, FIELDS["forces"], matrix), turned(VECTORS, matrix))

    @pytest.mark.parametrize("name", ["stress", "quadrupole"])
    def test_tensor(self, name, matrix):
        expected = outer(turned(VECTORS, matrix))
        torch.testing.assert_close(turn_field(outer(VECTORS), FIELDS[name], matrix), expected)

    def test_pseudovector(self, matrix):
        """A cross product does not change sign with its factors."""
        row = Field("magnetic_moment", "structure", (3,), "1e", "", "")
        cross = torch.linalg.cross(VECTORS, VECTORS.roll(1, 0))
        expected = torch.linalg.cross(turned(VECTORS, matrix), turned(VECTORS, matrix).roll(1, 0))
        torch.testing.assert_close(turn_field(cross, row, matrix), expected)

    def test_pseudoscalar(self, matrix):
        row = Field("chirality", "structure", (), "0o", "", "")

        def triple(vectors):
            return torch.linalg.det(vectors[:3])[None]

        torch.testing.assert_close(turn_field(triple(VECTORS), row, matrix), triple(turned(VECTORS, matrix)))

    def test_spherical_components(self, matrix):
        """l = 1 components are x, y, z; l = 0 in front of them stays."""
        row = Field("multipoles", "atom", (4,), "0e+1o", "", "")
        both = torch.cat([VECTORS[:, :1], VECTORS], dim=1)
        expected = torch.cat([VECTORS[:, :1], turned(VECTORS, matrix)], dim=1)
        torch.testing.assert_close(turn_field(both, row, matrix), expected)

    def test_features(self, matrix):
        from e3nn import o3

        def harmonics(vectors):
            return o3.spherical_harmonics([0, 1, 2, 3], vectors, True, "component")[:, :, None]

        torch.testing.assert_close(turn_features(harmonics(VECTORS), matrix), harmonics(turned(VECTORS, matrix)))


@pytest.mark.parametrize("degree", range(5))
@pytest.mark.parametrize("parity", [1, -1])
def test_matrices_represent_the_group(degree, parity):
    product = turn_matrix(degree, ROTATION, parity) @ turn_matrix(degree, REFLECTION, parity)
    torch.testing.assert_close(product, turn_matrix(degree, ROTATION @ REFLECTION, parity))
    torch.testing.assert_close(product @ product.T, torch.eye(2 * degree + 1, dtype=torch.float64))


def test_inversion_is_the_parity():
    inversion = -torch.eye(3, dtype=torch.float64).numpy()
    for degree in range(4):
        for parity in (1, -1):
            expected = parity * torch.eye(2 * degree + 1, dtype=torch.float64)
            torch.testing.assert_close(turn_matrix(degree, inversion, parity), expected)
