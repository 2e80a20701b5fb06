"""A config says what it means, or is refused in one line that names the choices."""

from pathlib import Path

import pytest
from scorejax.experiment.config.settings import convert

from scorejax.experiment import assemble as build
from scorejax.experiment import config as configs
from scorejax.runtime.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
GAUSSIAN = str(next(path for path in CONFIGS if path.stem == "vp_gaussian"))


def test_a_config_is_named_after_its_file_and_variants():
    assert configs.load(GAUSSIAN).name == "vp_gaussian"
    assert configs.load(f"{GAUSSIAN}:tiny").name == "vp_gaussian-tiny"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_tells_its_command_line(path):
    assert f"python main.py --config=configs/{path.name}" in path.read_text().split('"""')[1]


def test_a_config_survives_its_way_through_json():
    import json

    config = configs.load(GAUSSIAN, ["model.channel_multipliers=(1,2)"])
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
        ("sde.beta_max", "none", None),
        ("data.data_dir", "/a=b", "/a=b"),
    ],
)
def test_an_override_takes_the_type_of_its_key(key, text, value):
    got = convert(key, text)
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
        (GAUSSIAN, ["sde.name=vpp"], ["'vpp'", "subvp"]),
        (GAUSSIAN, ["sde.sigma_max=50"], ["sde.sigma_max", "beta_max"]),
        (GAUSSIAN, ["sde.beta_max=-1"], ["beta_max=-1"]),
        (GAUSSIAN, ["sampler.stepper=milstein"], ["'milstein'", "euler_maruyama"]),
        (GAUSSIAN, ["sampler.times=cosine"], ["'cosine'", "quadratic"]),
        (GAUSSIAN, ["sampler.corrector=mala"], ["'mala'", "langevin"]),
        (GAUSSIAN, ["sampler.snr=0.1"], ["sampler.snr", "langevin"]),
        (GAUSSIAN, ["sampler.method=heun"], ["sampler.method", "nothing"]),
        (GAUSSIAN, ["model.name=unet"], ["'unet'", "ddpmpp"]),
        (GAUSSIAN, ["model.name=ddpmpp"], ["'ddpmpp'", "choose one of mlp"]),
        (GAUSSIAN, ["model.remat=true"], ["model.remat", "features"]),
        (GAUSSIAN, ["model.predicts=x0"], ["'x0'", "data"]),
        (GAUSSIAN, ["model.dtype=float16"], ["'float16'", "bfloat16"]),
        (GAUSSIAN, ["model.conditional=true"], ["labels or embeddings", "'gaussian'"]),
        (GAUSSIAN, ["model.label_dropout=0.1"], ["model.label_dropout", "model.conditional=true"]),
        (GAUSSIAN, ["model.conditional=true", "model.label_dropout=1"], ["model.label_dropout = 1", "[0, 1)"]),
        (GAUSSIAN, ["objective.weighting=heavy"], ["'heavy'", "likelihood"]),
        (GAUSSIAN, ["objective.times=log"], ["'log'", "stratified"]),
        (GAUSSIAN, ["objective.reduction=max"], ["'max'", "half_sum"]),
        (GAUSSIAN, ["data.name=imagenette64"], ["'imagenette64'", "digits"]),
        (GAUSSIAN, ["data.flip=true"], ["data.flip", "vectors"]),
        (GAUSSIAN, ["train.batch=510"], ["510", "4 devices"]),
        (GAUSSIAN, ["train.steps=0"], ["train.steps = 0", "at least 1"]),
        (GAUSSIAN, ["train.steps_per_call=7"], ["4000", "7"]),
    ],
)
def test_a_mistake_is_told_in_one_line_with_the_choices(spec, overrides, words):
    with pytest.raises(ConfigError) as caught:
        config = configs.load(spec, overrides)
        build.check(config, devices=4)
        build.network(config, build.dataset(config))
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_the_learning_rate_warms_up_from_the_first_step_and_decays_to_zero():
    config = configs.load(GAUSSIAN, ["optim.lr=1", "optim.warmup=4", "train.steps=100"])
    rate = build.learning_rate(config)
    assert float(rate(0)) == pytest.approx(0.25)
    assert float(rate(3)) == pytest.approx(1.0, abs=0.01)
    assert float(rate(50)) == pytest.approx(0.5)
    assert float(rate(100)) == pytest.approx(0.0, abs=1e-6)


def test_weight_decay_leaves_vectors_alone():
    import jax.numpy as jnp

    config = configs.load(GAUSSIAN, ["optim.name=adamw", "optim.weight_decay=0.5"])
    optimizer = build.optimizer(config)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    zeros = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    assert float(jnp.abs(updates["bias"]).max()) == 0
    assert float(updates["kernel"].max()) < 0


def test_intervals_are_multiples_of_the_steps_per_call():
    config = configs.load(GAUSSIAN, ["train.steps=60", "train.log_every=12", "train.checkpoint_every=30"])
    assert build.steps_per_call(config) == 6
    assert build.steps_per_call(config, start=4) == 2
