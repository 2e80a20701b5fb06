"""EDM's form of the U-Nets of Score-SDE: published counts, and where classes and augmentation enter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from published import count

from scorejax.models import SongUNet

CIFAR = {"channel_multipliers": (2, 2, 2), "augment_dim": 9}
FFHQ = {"channel_multipliers": (1, 2, 2, 2), "augment_dim": 9}
NCSNPP = {"embedding": "fourier", "fir": True, "progressive_input": "residual"}
RNG = np.random.default_rng(5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "side", "expected"),
    [
        (CIFAR, 32, 55_733_891),
        (CIFAR | {"num_classes": 10}, 32, 55_735_299),
        (CIFAR | NCSNPP, 32, 56_397_827),
        (FFHQ, 64, 61_805_571),
        (FFHQ | NCSNPP, 64, 62_761_091),
    ],
)
def test_the_published_number_of_parameters(fields, side, expected):
    assert count(SongUNet(**fields), (side, side, 3)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{}, NCSNPP])
def test_classes_and_augmentation_are_added_to_the_waves(kind):
    fields = {"features": 4, "channel_multipliers": (1, 1), "blocks_per_level": 1, "attention_resolutions": ()} | kind
    model = SongUNet(**fields, num_classes=3, augment_dim=2)
    x, labels = jnp.asarray(RNG.standard_normal((2, 4, 4, 1), np.float32)), jnp.asarray([-0.7, 0.4])
    width = 8 if kind else 4

    shapes = jax.eval_shape(model.init, jax.random.key(0), x, labels, jnp.zeros(2, int))["params"]
    assert shapes["classes"]["kernel"].shape == (3, width) and shapes["augment"]["kernel"].shape == (2, width)
    params = jax.tree.map(lambda leaf: RNG.standard_normal(leaf.shape, np.float32) / 4, shapes)

    @jax.jit
    def all_of_them(params):
        run = lambda condition, **more: model.apply({"params": params, **more}, x, labels, condition)  # noqa: E731
        return (
            run(jnp.asarray([3, 3])),
            run(jnp.asarray([3, 1])),
            run(jnp.asarray([3, 3]), augment={"labels": jnp.eye(2)}),
        )

    none, one, augmented = all_of_them(params)
    np.testing.assert_allclose(one[0], none[0], atol=1e-5)
    assert np.abs(one[1] - none[1]).max() > 1e-3 and np.all(np.abs(augmented - none).max(axis=(1, 2, 3)) > 1e-3)
