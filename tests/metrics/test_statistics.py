from pathlib import Path

import numpy as np
import pytest

from scorejax.metrics import Moments, Statistics

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "fid_random_features.npz")


@pytest.fixture(scope="module")
def moments():
    return Moments.of(GOLDEN["a"], "net-v1")


def test_statistics_survive_the_disk_bit_for_bit(moments, tmp_path):
    kept = Statistics.of(moments, data="digits", shape=(8, 8, 1))
    kept.save(tmp_path / "new" / "s.npz")
    back = Statistics.load(tmp_path / "new" / "s.npz")
    assert (back.count, back.network, back.about) == (500, "net-v1", {"data": "digits", "shape": [8, 8, 1]})
    assert back.sha256 == kept.sha256
    np.testing.assert_array_equal(back.covariance, moments.covariance)


def test_the_digest_tells_statistics_apart(moments):
    kept = Statistics.of(moments)
    moved = Statistics(kept.mean + 1e-12, kept.covariance, kept.count, kept.network)
    assert moved.sha256 != kept.sha256
    assert Statistics(kept.mean, kept.covariance, None, None).sha256 == kept.sha256


def test_published_files_hold_mean_and_covariance_alone(tmp_path):
    np.savez(tmp_path / "ttur.npz", mu=np.zeros(3), sigma=np.eye(3))
    back = Statistics.load(tmp_path / "ttur.npz")
    assert back.count is None and back.network is None and back.covariance.shape == (3, 3)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mu": np.zeros(3)}, r"sigma of shape \(\)"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, r"wanted \[F\] and \[F, F\]"),
        ({"pool_3": np.zeros((5, 3))}, "fid_stats"),
        ({"mu": np.array([{}]), "sigma": np.eye(1)}, "cannot be read"),
        ({"mu": np.zeros(1), "sigma": np.eye(1), "n": np.arange(3)}, "its n or about cannot be read"),
        ({"mu": np.zeros(1), "sigma": np.eye(1), "about": "{"}, "its n or about cannot be read"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path, arrays, words):
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(ValueError, match=words):
        Statistics.load(tmp_path / "s.npz")
    with pytest.raises(ValueError, match="cannot be read"):
        Statistics.load(tmp_path / "absent.npz")
    np.save(tmp_path / "bare.npy", np.zeros(3))
    with pytest.raises(ValueError, match="holds mu of shape"):
        Statistics.load(tmp_path / "bare.npy")
