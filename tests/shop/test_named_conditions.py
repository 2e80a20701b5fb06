"""Named conditions from a config to samples: which networks take them, and how a person asks for them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import out_of_a_hat, small

from scorejax import data
from scorejax.experiment import config as configs
from scorejax.experiment import inputs, steering
from scorejax.experiment.conditions import from_shell, numbers_of
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.record import Record
from scorejax.experiment.trained import Trained
from scorejax.numerics.conditions import Condition
from scorejax.runtime.errors import ConfigError

LEVEL = Condition("level", "scalar", mean=(10.0,), deviation=(2.0,))
KIND = Condition("kind", "class", classes=3, class_names=("ant", "bee", "cat"))
WIND = Condition("wind", "vector", (2,), mean=(0.0, 1.0), deviation=(1.0, 2.0))
MAP = Condition("map", "field", (4, 4, 1))
FORM = data.Form("made", (4, 4, 1), embedding=(20,), conditions=(LEVEL, KIND, WIND, MAP))
OF_FILE = ("recipe.conditional=true", "recipe.label_dropout=0.2")
RNG = np.random.default_rng(0)


def ask(texts, absence=True):
    return np.asarray(inputs.conditions(FORM, from_shell(FORM, texts), absence=absence))


def test_what_is_asked_for_by_name_is_a_row_in_the_units_of_the_network(tmp_path):
    np.save(tmp_path / "map.npy", np.arange(16.0).reshape(4, 4, 1))
    row = ask([f"map={tmp_path / 'map.npy'}", "wind=(3,5)", "kind=bee", "level=12"])
    np.testing.assert_array_equal(row, [[1, 1, 3, 2, *np.arange(16)]])
    rows = ask(["level=(10,14)", "kind=(ant,2)", "wind=none"])
    np.testing.assert_array_equal(rows[:, :4], [[0, 0, np.nan, np.nan], [2, 2, np.nan, np.nan]])
    assert np.isnan(rows[:, 4:]).all()
    np.testing.assert_array_equal(numbers_of(FORM, ("kind", "map")), [False, True, False, False, *16 * [True]])


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["heat=3"], r"no condition 'heat'; the data have level \(scalar\), kind \(class of 3\)"),
        (["level"], "'level' is no NAME=VALUE"),
        (["kind=dog"], "no class 'dog'; choose one of ant, bee, cat"),
        (["kind=3"], "the numbers 0 to 2, or ant, bee, cat"),
        (["level=much"], "'level' is a scalar of numbers, got 'much'"),
        (["level=inf"], "not finite"),
        (["wind=3"], r"'wind' has shape \(1,\); wanted a vector of shape \(2,\)"),
        (["map=3"], "give a file, map=FILE.npy"),
        (["map=nowhere.npy"], "nowhere.npy cannot be read"),
        (["level=(1,2)", "kind=(0,1,2)"], "2 of 'level', 3 of 'kind'"),
    ],
)
def test_what_cannot_be_asked_for_is_named(texts, words):
    with pytest.raises(ValueError, match=words):
        ask(texts)


def test_a_network_that_never_went_without_a_condition_is_given_all_of_them():
    with pytest.raises(ValueError, match="'wind' is not given, but this network never saw an example without it"):
        ask(["level=1", "kind=0"], absence=False)
    with pytest.raises(ValueError, match=r"give condition=\{NAME: value, ...\}"):
        inputs.conditions(FORM, 3)
    with pytest.raises(ValueError, match="has no conditions by name"):
        inputs.conditions(data.Form("d", (2,), num_classes=2), {"level": 1})


def test_the_record_of_a_run_keeps_them():
    record = Record(FORM, {"train": 4}, "0" * 16)
    assert Record.from_dict(record.to_dict()).form == FORM
    older = {key: value for key, value in record.to_dict().items() if key != "conditions"}
    assert Record.from_dict(older).form.conditions == ()


def of_arrays(folder, *overrides, **arrays):
    path = folder / "x.npz"
    np.savez(path, **{key.replace("__", "."): value for key, value in arrays.items()})
    return small(f"data=npz:path={path}", *OF_FILE, *overrides)


@pytest.mark.parametrize(
    ("shape", "condition", "model", "words"),
    [
        ((30, 4, 4, 2), RNG.standard_normal(30), "adm", r"choose ddpmpp, ncsnpp, ddpm, dit, uvit$"),
        ((30, 4, 4, 2), RNG.standard_normal((30, 2, 5)), "dit", "choose ddpmpp, ncsnpp, ddpm$"),
        ((30, 3), RNG.standard_normal((30, 2, 5)), "mlp", "no network takes this one"),
        ((30, 4, 4, 2), np.arange(30) % 3, "multiscale_conv", "takes no conditions; for data = 'npz'"),
    ],
)
def test_networks_that_take_a_condition_are_named(tmp_path, shape, condition, model, words):
    config = of_arrays(tmp_path, x=np.zeros(shape, np.float32) + RNG.standard_normal(shape), condition__a=condition)
    configs.override(config, [f"model={model}"])
    with pytest.raises(ConfigError, match=words):
        make_recipe(config).shapes()


def test_mirrored_images_do_not_go_with_fields(tmp_path):
    x = RNG.standard_normal((30, 4, 4, 1))
    with pytest.raises(ConfigError, match="not the fields"):
        assert make_recipe(of_arrays(tmp_path, "data.flip=true", x=x, condition__map=x)).given.form


def test_a_table_is_steered_by_names(tmp_path):
    """Samples are given what was asked for, and led by the difference that a condition makes."""
    x = RNG.standard_normal((40, 2)).astype(np.float32)
    arrays = {"x": x, "condition__level": 5 + RNG.standard_normal(40), "condition__kind": np.arange(40) % 3}
    config = of_arrays(tmp_path, "eval.condition=level=5.5,kind=1", **arrays)
    recipe = make_recipe(config)
    params = out_of_a_hat(recipe.shapes())
    trained = Trained(config, recipe, params, 0)
    level = recipe.given.form.conditions[0]
    wanted = level.scaled(np.float64(5.5))
    np.testing.assert_allclose(steering.classes(config, trained).labels, [[wanted, 1.0]], rtol=1e-5)
    configs.override(config, ["guidance=classifier_free:scale=3:drop=kind"])
    classes = steering.classes(config, trained)
    points, t = jnp.ones((2, 2)), jnp.full(2, 0.5)
    given = jnp.float32([[wanted, 1], [0, 2]])

    @jax.jit
    def scores(classes):
        cond, without, guided = (
            trained.model.score_given(given)(points, t),
            trained.model.score_given(given.at[:, 1].set(jnp.nan))(points, t),
            classes.score(trained.model, trained.sde, given)(points, t),
        )
        return cond, without, guided

    cond, without, guided = scores(classes)
    assert jnp.abs(cond - without).max() > 1e-3
    np.testing.assert_allclose(guided, without + 3 * (cond - without), rtol=1e-4, atol=1e-5)
    configs.override(config, ["guidance.drop=heat"])
    with pytest.raises(ConfigError, match="no condition 'heat'"):
        steering.classes(config, trained)
    configs.override(config, ["guidance=none", "recipe.conditional=false", "recipe.label_dropout=0"])
    recipe = make_recipe(config)
    with pytest.raises(ConfigError, match=r"eval\.condition = level=5\.5,kind=1 names conditions, but this network"):
        steering.classes(config, Trained(config, recipe, out_of_a_hat(recipe.shapes()), 0))
