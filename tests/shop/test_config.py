"""A config says what it means, or is refused in one line that names the choices."""

import json
from pathlib import Path

import jax.numpy as jnp
import pytest

from scorejax.experiment import assemble, checks
from scorejax.experiment import config as configs
from scorejax.experiment.recipe import make_recipe
from scorejax.runtime.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
GAUSSIAN = str(next(path for path in CONFIGS if path.stem == "vp_gaussian"))


def test_a_config_is_named_after_its_file_and_variants():
    assert configs.load(GAUSSIAN).name == "vp_gaussian"
    assert configs.load(f"{GAUSSIAN}:tiny").name == "vp_gaussian-tiny"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_gives_its_command_line(path):
    assert f"python main.py --config=configs/{path.name}" in path.read_text().split('"""')[1]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_survives_its_way_through_json(path):
    config = configs.load(str(path))
    back = configs.from_dict(json.loads(json.dumps(configs.to_dict(config))))
    assert configs.to_dict(back) == configs.to_dict(config)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("optim.lr", "1e-4", 1e-4),
        ("train.steps", "1e6", 1_000_000),
        ("train.steps", "20_000", 20_000),
        ("data.flip", "True", True),
        ("data.flip", "0", False),
        ("model.channel_multipliers", "1,2,2", (1, 2, 2)),
        ("model.attention_resolutions", "()", ()),
        ("sampler.t_min", "none", None),
        ("data.data_dir", "/a=b", "/a=b"),
    ],
)
def test_an_override_takes_the_type_of_its_key(key, text, value):
    config = configs.override(configs.base(), ["model=ddpmpp", "data=mnist"])
    got = configs.flatten(configs.to_dict(configs.override(config, [f"{key}={text}"])))[key]
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("spec", "overrides", "words"),
    [
        (f"{GAUSSIAN}:tinny", [], ["'tinny'", "tiny"]),
        (GAUSSIAN.replace("gaussian", "gauss"), [], ["vp_gauss.py", "vp_gaussian.py"]),
        (GAUSSIAN, ["optim.learning_rate=1"], ["'optim.learning_rate'", "lr", "warmup"]),
        (GAUSSIAN, ["optimizer.lr=1"], ["'optimizer.lr'", "optim", "model"]),
        (GAUSSIAN, ["sampler=ddim"], ["section", "stepper"]),
        (GAUSSIAN, ["optim.lr"], ["optim.lr", "VALUE"]),
        (GAUSSIAN, ["optim.lr=fast"], ["'fast'", "number"]),
        (GAUSSIAN, ["train.steps=1.5"], ["'1.5'", "whole"]),
        (GAUSSIAN, ["data.flip=maybe"], ["'maybe'", "true or false"]),
        (GAUSSIAN, ["optim.name=sgd"], ["'sgd'", "adam, adamw"]),
        (GAUSSIAN, ["optim.decay=linear"], ["'linear'", "cosine"]),
        (GAUSSIAN, ["optim.weight_decay=0.1"], ["weight_decay", "adamw"]),
        (GAUSSIAN, ["sde=vpp"], ["'vpp'", "subvp"]),
        (GAUSSIAN, ["sde.sigma_max=50"], ["sde.sigma_max", "beta_max"]),
        (GAUSSIAN, ["sde.beta_max=-1"], ["'sde.beta_max'", "more than 0", "'-1'"]),
        (GAUSSIAN, ["sampler.stepper=milstein"], ["'milstein'", "euler_maruyama"]),
        (GAUSSIAN, ["sampler.time_grid=cosine"], ["'cosine'", "quadratic"]),
        (GAUSSIAN, ["sampler.corrector=mala"], ["'mala'", "langevin"]),
        (GAUSSIAN, ["sampler.corrector.snr=0.1"], ["sampler.corrector.snr", "'none'", "nothing"]),
        (GAUSSIAN, ["sampler.stepper.method=heun"], ["sampler.stepper.method", "'euler_maruyama'", "nothing"]),
        (GAUSSIAN, ["model=unet"], ["'unet'", "ddpmpp"]),
        (GAUSSIAN, ["model=ddpmpp"], ["'ddpmpp'", "choose one of mlp"]),
        (GAUSSIAN, ["model.remat=true"], ["model.remat", "features"]),
        (GAUSSIAN, ["recipe.predicts=x0"], ["'x0'", "data"]),
        (GAUSSIAN, ["model.dtype=float16"], ["'float16'", "bfloat16"]),
        (GAUSSIAN, ["recipe=scores"], ["'scores'", "classifier"]),
        (GAUSSIAN, ["recipe=json:loads"], ["'json:loads'", "Recipe"]),
        (GAUSSIAN, ["recipe=classifier"], ["model = 'mlp'", "mlp_classifier"]),
        (
            GAUSSIAN,
            ["recipe=classifier", "model=mlp_classifier"],
            ["section 'objective'", "recipe 'classifier'", "sde, model"],
        ),
        (GAUSSIAN, ["recipe.conditional=true"], ["labels or embeddings", "'gaussian'"]),
        (GAUSSIAN, ["recipe.label_dropout=0.1"], ["recipe.label_dropout", "recipe.conditional=true"]),
        (GAUSSIAN, ["recipe.label_dropout=1"], ["'recipe.label_dropout'", "at least 0 and less than 1"]),
        (GAUSSIAN, ["objective.weighting=heavy"], ["'heavy'", "likelihood"]),
        (GAUSSIAN, ["objective.time_sampling=log"], ["'log'", "stratified"]),
        (GAUSSIAN, ["objective.reduction=max"], ["'max'", "half_sum"]),
        (GAUSSIAN, ["data=imagenette64"], ["'imagenette64'", "digits"]),
        (GAUSSIAN, ["data.flip=true"], ["data.flip", "vectors"]),
        (GAUSSIAN, ["train.batch=510"], ["510", "4 devices"]),
        (
            GAUSSIAN,
            ["train.steps=0"],
            ["'train.steps'", "at least 1", "default is 100000, and here it is 4000"],
        ),
        (GAUSSIAN, ["train.steps_per_call=7"], ["4000", "7"]),
    ],
)
def test_a_mistake_is_named_in_one_line_with_the_choices(spec, overrides, words):
    with pytest.raises(ConfigError) as caught:
        config = configs.load(spec, overrides)
        checks.check(config, devices=4)
        make_recipe(config).shapes()
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_the_learning_rate_warms_up_from_the_first_step_and_decays_to_zero():
    config = configs.load(GAUSSIAN, ["optim.lr=1", "optim.warmup=4", "train.steps=100"])
    rate = assemble.learning_rate(config)
    assert float(rate(0)) == pytest.approx(0.25)
    assert float(rate(3)) == pytest.approx(1.0, abs=0.01)
    assert float(rate(50)) == pytest.approx(0.5)
    assert float(rate(100)) == pytest.approx(0.0, abs=1e-6)


def test_weight_decay_leaves_vectors_alone():
    config = configs.load(GAUSSIAN, ["optim.name=adamw", "optim.weight_decay=0.5"])
    optimizer = assemble.optimizer(config)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    zeros = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    assert float(jnp.abs(updates["bias"]).max()) == 0
    assert float(updates["kernel"].max()) < 0


def test_intervals_are_multiples_of_the_steps_per_call():
    config = configs.load(GAUSSIAN, ["train.steps=60", "train.log_every=12", "train.checkpoint_every=30"])
    assert assemble.steps_per_call(config) == 6
    assert assemble.steps_per_call(config, start=4) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sampler.times", "sampler.time_grid"),
        ("objective.times", "objective.time_sampling"),
        ("eval.elbo_times", "eval.elbo_time_grid"),
        ("eval.inception", "eval.features=inception:weights=FILE"),
        ("model.conditional", "recipe.conditional"),
        ("sampler.snr", "sampler.corrector.snr"),
        ("sampler.order", "sampler.stepper.order"),
    ],
)
def test_the_old_name_of_a_setting_leads_to_the_new_one(old, new):
    with pytest.raises(ConfigError, match=f"'{old}' is now called '{new}'"):
        configs.override(configs.base(), [f"{old}=1"])
