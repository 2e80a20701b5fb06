"""The recipe that undoes a degradation: what it asks for, what it fits to the data, and what it refuses."""

import re

import jax
import numpy as np
import pytest
from runs import ROOT

from scorejax import data
from scorejax.experiment import checks
from scorejax.experiment import config as configs
from scorejax.experiment.recipe import Batch, make_recipe
from scorejax.runtime.errors import ConfigError

HAT = np.random.default_rng(0)
COLORED = data.Dataset("colored", HAT.integers(0, 256, (70, 8, 8, 3), np.uint8), gray_levels=256)
GRAY = data.Dataset("gray", COLORED.examples[..., :1], gray_levels=256)


def recipe_of(*overrides, examples=COLORED, variant="digits,tiny"):
    return make_recipe(configs.load(f"cold_mnist:{variant}", overrides), examples)


def test_what_is_fitted_to_the_data_lies_in_the_weights_and_is_known_without_them():
    recipe = recipe_of("recipe.degradation.last=mean", "recipe.degradation.components=2")
    assert recipe.draws and recipe.process.asks_for_data
    params = {"network": {}, "start": recipe._start()}
    shapes = {name: leaf.shape for name, leaf in recipe.shapes()["start"].items()}
    assert shapes == {name: value.shape for name, value in params["start"].items()}
    assert shapes == {"weights": (2,), "means": (6,), "factors": (18,)}
    means = recipe.model(params).degradation.means
    colors = np.asarray(recipe.given.space.middle(COLORED.examples)).mean((1, 2))
    np.testing.assert_allclose(means.weights @ means.means, colors.mean(0), atol=1e-5)


class Zero:
    """A network that puts out zeros."""

    def apply(self, variables, x, *rest, **options):
        return 0.0 * x


def test_the_loss_is_of_the_degraded_example_at_one_of_its_levels():
    """A network that adds nothing restores nothing: what is left is what the degradation takes."""
    recipe = recipe_of("recipe.residual=true", "recipe.loss=l2", "recipe.degradation.levels=1")
    recipe.__dict__["network"] = Zero()
    x, key = recipe.given.space.middle(COLORED.examples[:4]), jax.random.key(0)
    losses, _, _ = recipe.loss({"network": {}}, None, Batch(x, x, None, 0, key, key, 0, 1), jax.random.split(key, 4))
    blurred = recipe.process.degrade(x, 1.0, ())
    np.testing.assert_allclose(losses, ((blurred - x) ** 2).mean((1, 2, 3)), rtol=1e-5)


def test_images_turn_into_those_of_another_class_or_folder(tmp_path):
    np.savez(tmp_path / "others.npz", x=np.full((5, 8, 8, 3), 255, np.uint8))
    recipe = recipe_of(f"recipe.others={tmp_path / 'others.npz'}", variant="animorph,digits,tiny")
    drawn = recipe._known(None).draw(jax.random.split(jax.random.key(0), 2), (2, 8, 8, 3))
    np.testing.assert_allclose(drawn, 255.5 / 128 - 1)
    recipe = recipe_of("recipe.other_classes=(8,)", variant="animorph,digits,tiny", examples=None)
    source = data.load("digits", "train", classes=(8,))
    np.testing.assert_allclose(recipe._known(None).others, recipe.given.space.middle(source.examples), rtol=1e-6)


def test_a_degradation_of_ones_own_is_named_by_its_module(tmp_path, monkeypatch):
    """The example of the docs, on points in the plane."""
    page = (ROOT / "docs/processes.md").read_text()
    (block,) = re.findall(r"^```python\n(# my_degradation.py\n.*?)^```", page, re.DOTALL | re.MULTILINE)
    (part,) = re.findall(r"--config.recipe.degradation=(my_degradation:\S+)", page)
    (tmp_path / "my_degradation.py").write_text(block)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = configs.load("cold_mnist:moons,tiny", [f"recipe.degradation={part}"])
    checks.check(config)
    process = make_recipe(config).process
    x = HAT.standard_normal((3, 2)).astype(np.float32)
    np.testing.assert_allclose(process.degrade(x, np.array([0.0, 0.4, 1.0]), ()), x * [[1, 1], [1, 0.6], [1, 0]])


REFUSED = {
    "two sets": (
        ("recipe=restoration:degradation=animorph", "recipe.others=x", "recipe.other_classes=(8,)"),
        {},
        "both say what",
    ),
    "others": (("recipe.other_classes=(3,)",), {}, "of recipe.degradation = 'animorph' alone, got 'blur'"),
    "a kernel": (("recipe.degradation.kernel=11",), {}, "blur' on data = 'colored'.*larger than images of 8x8"),
    "gray": (("recipe=restoration:degradation=decolor",), {"examples": GRAY}, "no color to lose"),
    "a network of sigma": (("model=ncsnpp",), {}, "scale_by_sigma=false"),
    "a network of levels": (("model=ncsn",), {}, "knows noise by its level"),
    "a network for classes": (("model=wide_resnet",), {}, "made for classes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_the_reason(case):
    overrides, given, words = REFUSED[case]
    with pytest.raises(ConfigError, match=words):
        recipe_of(*overrides, **given).network  # noqa: B018
