"""ADM and its classifier: published counts, the order of attention's rows, and what a class and augmentation add."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from published import count

from scorejax.models import ADM, ADMClassifier, DhariwalUNet
from scorejax.models.adm_layers import multihead

LARGE = {"features": 256, "blocks_per_level": 2, "learned_range": True}
MULTIPLIERS_128, MULTIPLIERS_256 = (1, 1, 2, 3, 4), (1, 1, 2, 2, 4, 4)
RNG = np.random.default_rng(3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "side", "channels", "expected"),
    [
        (ADM(num_classes=1000, learned_range=True), 64, 3, 295_904_454),
        (
            ADM(**LARGE, channel_multipliers=MULTIPLIERS_128, attention_levels=(2, 3, 4), heads=4, num_classes=1000),
            128, 3, 421_529_606,
        ),
        (
            ADM(**LARGE, channel_multipliers=MULTIPLIERS_256, attention_levels=(3, 4, 5), num_classes=1000),
            256, 3, 553_838_086,
        ),
        (ADM(**LARGE, channel_multipliers=MULTIPLIERS_256, attention_levels=(3, 4, 5)), 256, 3, 552_814_086),
        (
            ADM(
                **LARGE, channel_multipliers=(0.5, *MULTIPLIERS_256), attention_levels=(4, 5, 6), num_classes=1000
            ),
            512, 3, 558_997_638,
        ),
        (
            ADM(
                features=192, blocks_per_level=2, learned_range=True, channel_multipliers=MULTIPLIERS_256,
                attention_levels=(3, 4, 5), heads=4, num_classes=1000, given_channels=3,
            ),
            256, 6, 311_795_910,
        ),
        (
            ADM(
                features=128, blocks_per_level=1, learned_range=True, channel_multipliers=MULTIPLIERS_256,
                attention_levels=(4,),
            ),
            256, 3, 93_563_910,
        ),
        (DhariwalUNet(num_classes=1000), 64, 3, 295_899_267),
    ],
    ids=["64", "128", "256", "256-unconditional", "512", "upsampler", "ffhq", "dhariwal"],
)  # fmt: skip
def test_the_published_number_of_parameters(model, side, channels, expected):
    assert count(model, (side, side, channels)) == expected


def test_new_legacy_and_edm_attention_agree_after_their_rows_are_permuted_and_not_before():
    heads, each = 2, 4
    qkv = RNG.standard_normal((2, 5, 3 * heads * each), np.float32)
    apart = qkv.reshape(2, 5, 3, heads, each)
    attend = jax.jit(multihead, static_argnums=(1, 2))
    wanted = attend(qkv, heads, "new")
    for order, axes in {"legacy": (0, 1, 3, 2, 4), "edm": (0, 1, 3, 4, 2)}.items():
        permuted = apart.transpose(axes).reshape(qkv.shape)
        np.testing.assert_allclose(attend(permuted, heads, order), wanted, atol=1e-6)
        assert np.abs(attend(qkv, heads, order) - wanted).max() > 0.1
    q, k, v = (apart[0, :, i, 1] for i in range(3))
    weights = np.exp(q @ k.T / 2)
    np.testing.assert_allclose(wanted[0, :, each:], weights / weights.sum(1, keepdims=True) @ v, atol=1e-6)


SMALL = {"features": 8, "channel_multipliers": (1, 2), "blocks_per_level": 1, "head_channels": 4, "dropout": 0.0}


@pytest.mark.slow
def test_a_class_adds_its_row_no_class_adds_nothing_and_augmentation_is_zero_unless_given():
    model = DhariwalUNet(**SMALL, attention_levels=(1,), num_classes=3, augment_dim=9)
    plain = DhariwalUNet(**SMALL, attention_levels=(1,))
    x, labels = jnp.asarray(RNG.standard_normal((2, 5, 7, 2), np.float32)), jnp.asarray([3.0, 400.0])
    shapes = jax.eval_shape(model.init, jax.random.key(0), x, labels, jnp.asarray([0, 0]))["params"]
    params = jax.tree.map(lambda leaf: RNG.standard_normal(leaf.shape, np.float32) / 4, shapes)

    @jax.jit
    def all_of_them(params, x):
        run = lambda condition, **more: model.apply({"params": params, **more}, x, labels, condition)  # noqa: E731
        bare = {name: value for name, value in params.items() if name not in ("classes", "augment")}
        none = run(jnp.asarray([3, 3]))
        augmented = run(jnp.asarray([3, 3]), augment={"labels": jnp.ones((2, 9))})
        return none, plain.apply({"params": bare}, x, labels), run(jnp.asarray([1, 3])), augmented

    none, bare, mixed, augmented = all_of_them(params, x)
    assert none.shape == x.shape
    np.testing.assert_allclose(none, bare, atol=1e-5)
    assert np.abs(mixed[0] - none[0]).max() > 1e-2 and np.allclose(mixed[1], none[1], atol=1e-5)
    assert np.abs(augmented - none).max() > 1e-2


@pytest.mark.slow
def test_the_classifier_looks_at_the_noise_and_at_every_site():
    model = ADMClassifier(num_classes=5, **(SMALL | {"head_channels": 8}), attention_levels=(1,))
    x, labels = jnp.asarray(RNG.standard_normal((2, 8, 8, 1), np.float32)), jnp.asarray([3.0, 400.0])
    shapes = jax.eval_shape(model.init, jax.random.key(0), x, labels)["params"]
    assert shapes["pool"]["positions"].shape == (17, 16)
    params = jax.tree.map(lambda leaf: RNG.standard_normal(leaf.shape, np.float32) / 4, shapes)

    @jax.jit
    def all_of_them(x):
        run = lambda x, labels: model.apply({"params": params}, x, labels)  # noqa: E731
        return run(x, labels), run(x, labels + 100), jax.grad(lambda x: run(x, labels)[0, 0])(x)

    logits, noisier, slope = all_of_them(x)
    assert logits.shape == (2, 5) and np.abs(noisier - logits).max() > 1e-3
    assert np.all(slope[0] != 0) and np.all(slope[1] == 0)


def test_levels_and_heads_that_do_not_fit_are_refused():
    x, labels = jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32)
    for fields, message in [
        ({"attention_levels": (2,)}, "levels 0 to 1"),
        ({"attention_levels": (1,), "heads": 3}, "do not divide into 3 heads"),
        ({"attention_levels": (), "channel_multipliers": (1,) * 5}, "down to one pixel"),
        ({"attention_levels": (), "given_channels": 1}, "nothing to predict"),
    ]:
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(ADM(**(SMALL | fields)).init, jax.random.key(0), x, labels)
