"""Which noise suits data: numbers of three random fields, and of what is known otherwise."""

import numpy as np
import pytest

from scorejax.scores.analytic import random_field
from scorejax.sdes.data_levels import data_levels, principal_variances

FIELDS = {  # largest and smallest variance, mean and deviation of ln r
    "A": (64, 1, 2.0, 10.607418, 0.041274, -0.765, 1.163),
    "B": (32, 2, 3.0, 45.876752, 0.031312, -0.767, 1.093),
    "C": (16, 3, 4.0, 69.894945, 0.029111, -0.605, 1.059),
}


@pytest.mark.parametrize("name", FIELDS)
def test_the_noise_of_a_random_field_is_that_of_its_spectrum(name):
    side, dimensions, power, largest, smallest, mean, std = FIELDS[name]
    found = data_levels(random_field(side, dimensions, power=power).spectrum)
    assert found.sigma_data == pytest.approx(1.0, abs=1e-6)
    assert (found.mean, found.std) == (pytest.approx(mean, abs=6e-4), pytest.approx(std, abs=6e-4))
    assert found.sigma_max == pytest.approx(10 * largest**0.5, rel=1e-6)
    assert found.sigma_min == pytest.approx(0.2 * smallest**0.5, rel=1e-4)
    ratio = np.asarray(random_field(side, dimensions, power=power).spectrum) / found.sigma_max**2
    assert 0.5 * np.sum(ratio - np.log1p(ratio)) < 3e-4  # nats that the prior is away from noisy data


def test_white_noise_and_a_mean_and_a_quantum():
    """Of variance 1, half is kept at r = 1, a tenth at r = 3 and nine tenths at 1 / 3."""
    found = data_levels(np.full(5, 4.0), center=[0.0, 30.0], quantum=10.0)
    assert found.mean == pytest.approx(np.log(2)) and found.std == pytest.approx(2 * np.log(3) / 2.563, rel=1e-3)
    assert found.sigma_data == pytest.approx(np.sqrt(4 + 450))
    assert (found.sigma_min, found.sigma_max) == (pytest.approx(1.28), pytest.approx(300.0))
    assert data_levels([1.0, 1e-9, 0.0]).sigma_min == pytest.approx(0.002 / 3**0.5)
    for wrong in ([0.0], [-1.0, 1.0], [np.nan], []):
        with pytest.raises(ValueError, match="finite variances"):
            data_levels(wrong)


@pytest.mark.parametrize(
    ("shape", "periodic"), [((64, 1), None), ((64, 1), (True,)), ((16, 16, 2), None), ((16, 16, 2), (True, True))]
)
def test_variances_of_examples_give_the_same_noise(shape, periodic):
    sides = shape[:-1]
    law = random_field(sides[0], len(sides), power=2.0)
    gain, axes = np.sqrt(np.asarray(law.spectrum)), tuple(range(1, len(sides) + 1))
    white = np.random.default_rng(0).standard_normal((700, *sides, shape[-1]))
    fields = np.fft.ifftn(np.fft.fftn(white, axes=axes) * gain[..., None], axes=axes).real
    if shape[-1] == 2:
        # mixtures of two fields, of three times and of a third of the deviation
        fields = fields @ np.diag([3.0, 1 / 3]) @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    exact = np.outer(law.spectrum, [9.0, 1 / 9] if shape[-1] == 2 else [1.0])
    variances = principal_variances(fields.astype(np.float32), periodic)
    assert variances.shape == (exact.size,)
    assert variances.mean() == pytest.approx(exact.mean(), rel=0.05)
    found, wanted = data_levels(variances), data_levels(exact)
    assert found.mean == pytest.approx(wanted.mean, abs=0.08) and found.std == pytest.approx(wanted.std, rel=0.08)
    assert found.sigma_max == pytest.approx(wanted.sigma_max, rel=0.25)


def test_variances_of_a_table_are_those_of_its_principal_components():
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))
    white = np.random.default_rng(0).standard_normal((4000, 3))
    found = principal_variances(white * [0.1, 1.0, 5.0] @ turn + 7.0)
    np.testing.assert_allclose(found, [0.01, 1.0, 25.0], rtol=0.06)
    wide = principal_variances(white[:2])
    assert wide.shape == (3,) and np.sum(wide > 1e-9) == 1
    with pytest.raises(ValueError, match="some of them not finite"):
        principal_variances(np.array([[1.0], [np.nan]]))
