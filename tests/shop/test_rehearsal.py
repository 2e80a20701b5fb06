"""What would fail after a training is refused before it, and what would not is not."""

import shutil
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from exact_recipes import Known
from jax.tree_util import Partial
from runs import ROOT, toy
from test_every_config import data_of, read

from scorejax import metrics
from scorejax.experiment import assemble, checks, modes, recipes, rehearsal
from scorejax.experiment import config as configs
from scorejax.experiment.config import override
from scorejax.experiment.evaluation import bits
from scorejax.experiment.model import Model
from scorejax.experiment.training.state import average, hardly_averaged, initial_share
from scorejax.runtime.errors import ConfigError, RunError


class Faulty(metrics.Metric):
    """A metric with a mistake that only samples bring to light."""

    def measure(self, real, samples, network, *, seed=0):
        return {"fault": samples[:, 99].mean()}

    def lines(self, result):
        return []


class Unwritable(Faulty):
    """A metric whose result no JSON can hold."""

    def measure(self, real, samples, network, *, seed=0):
        return {("fault", 1): 1.0}


class Misshapen(Known):
    """A model whose density is of vectors of five numbers, and whose samples are of one."""

    uses = ()

    def model(self, params):
        return Model(log_prob=Partial(of_five), sample=Partial(of_one))


def of_five(keys, x):
    return (x @ jnp.ones((5, 1)))[:, 0]


def of_one(keys, shape):
    return jnp.zeros((shape[0], 1)) + jnp.ones((3, 2))


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    def begun(*_, **__):
        raise AssertionError("the training began")

    monkeypatch.setattr(modes, "run_training", begun)


def arrays(folder, **named):
    hat = np.random.default_rng(0)
    np.savez(folder / "x.npz", **{key: hat.standard_normal(shape).astype(np.float32) for key, shape in named.items()})
    return f"data=npz:path={folder / 'x.npz'}"


def other_statistics(folder):
    moments = metrics.Moments.of_rows(np.eye(3), "of another network")
    metrics.Statistics.of(moments).save(folder / "stats.npz")
    return f"eval.stats={folder / 'stats.npz'}"


SAMPLES = ("eval.after_training=true", "eval.exact=false", "eval.samples=10")
EXACT = ("exact_recipes:Gaussian", *SAMPLES, "sampler.steps=2")
IMAGES = ("exact_recipes:Pixels", "data=digits", "eval.after_training=true")
NOTHING = ("toy_recipes:Point", "eval.after_training=true")
REFUSED = {
    "a split that is not there": ((*EXACT, "eval.split=val"), ["eval.split = 'val'", "'test'"]),
    "real examples of such a split": ((*EXACT, "eval.reference_split=dev"), ["eval.reference_split = 'dev'"]),
    "splits of two kinds": ((*EXACT, lambda f: arrays(f, train=(9, 4), test=(9, 3))), ["'train'", "'test'", "3"]),
    "too few real examples": ((*EXACT, lambda f: arrays(f, train=(3, 4), test=(9, 4))), ["3 examples", "frechet", "4"]),
    "features whose weights are missing": (
        (*EXACT, "eval.features=inception:weights=/nonexistent"),
        ["/nonexistent", "weights"],
    ),
    "statistics of other features": ((*EXACT, other_statistics), ["eval.stats", "another network"]),
    "features of a run that is missing": ((*EXACT, "eval.features=run:workdir=/nonexistent"), ["/nonexistent"]),
    "a metric with a mistake": (
        (*EXACT, "eval.metrics=('test_rehearsal:Faulty',)"),
        ["after the training", "samples", "IndexError", "test_rehearsal.py, line", "eval.samples=0"],
    ),
    "a result that no file can hold": (
        (*EXACT, "eval.metrics=('test_rehearsal:Unwritable',)"),
        ["after the training", "samples", "TypeError", "eval.samples=0"],
    ),
    "a program that does not fit the data": (
        ("test_rehearsal:Misshapen", "eval.after_training=true", "eval.samples=0"),
        ["after the training", "likelihood", "test_rehearsal.py, line", "eval.exact=false"],
    ),
    "samples that cannot be previewed": (
        ("test_rehearsal:Misshapen", "train.preview_every=4"),
        ["a preview", "test_rehearsal.py, line", "train.preview_every=0"],
    ),
    "a dequantizer that is not trained": (
        (*IMAGES, "eval.dequantization=variational"),
        ["eval.dequantization", "--mode=train_dequantizer"],
    ),
    "a variance that is not calibrated": ((*EXACT, "sampler.stepper=analytic"), ["analytic", "--mode=calibrate"]),
    "a head that is not trained": ((*EXACT, "eval.elbo=5"), ["npr", "--mode=train_head"]),
    "guidance of given images": ((*EXACT, "guidance=inpaint"), ["inpaint", "--mode=sample"]),
    "guidance by a classifier that is missing": (
        (*IMAGES, "guidance=classifier:classifier=/nonexistent:labels=(1,)"),
        ["/nonexistent"],
    ),
    "published weights that are missing": ((*NOTHING, "init_from=/nonexistent"), ["/nonexistent"]),
    "settings that measure nothing": (
        (*EXACT, "eval.samples=0"),
        ["measure nothing", "eval.exact", "eval.samples", "eval.after_training=false"],
    ),
    "a model of which nothing is measured": (NOTHING, ["toy_recipes:Point", "eval.after_training=false"]),
    "more samples than there is room for": ((*EXACT, "eval.samples=2_000_000_000"), ["MiB", "eval.samples"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_fail_after_the_training_is_refused_before_it_in_one_line(name, tmp_path, monkeypatch):
    if "room" in name:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    (recipe, *given), words = REFUSED[name]
    config = toy("Point", f"recipe={recipe}")
    inputs, workdir = tmp_path / "inputs", tmp_path / "run"
    inputs.mkdir()
    override(config, [each(inputs) if callable(each) else each for each in given])
    with pytest.raises(RunError) as refusal:
        modes.run("train", config, workdir)
    assert "\n" not in str(refusal.value)
    assert all(word in str(refusal.value) for word in words), refusal.value
    assert not workdir.exists()


@pytest.mark.parametrize("taken", [".", "eval", "samples"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_training(taken, tmp_path):
    workdir = tmp_path / "run"
    if taken != ".":
        workdir.mkdir()
    (workdir / taken).write_text("a file")
    with pytest.raises(ConfigError, match=r"run.* is no folder; choose another --workdir"):
        rehearsal.rehearse(toy("Point"), workdir)


def rehearsed(config, examples, monkeypatch, workdir):
    """Rehearse with these examples in the place of both splits."""
    monkeypatch.setattr(assemble, "dataset", lambda *_, **__: examples)
    checks.check(config)
    rehearsal.rehearse(config, workdir)


FEW_LAYERS = "model=ddpmpp:features=4:blocks_per_level=1:channel_multipliers=(1,):attention_resolutions=()"
RUNS = {
    "vp_digits": ("vdm,tiny", ["eval.exact=false", "eval.bound=0", FEW_LAYERS]),
    "ncsn": ("tiny", ["eval.features=auto", "eval.exact=false", FEW_LAYERS]),
    "vp_moons": ("tiny", ["eval.elbo=5", "eval.elbo_variance=posterior", "eval.metrics=('frechet','kid')"]),
    "flow": ("tiny", []),
    "energy": ("tiny", []),
    "joint_energy": ("tiny", []),
    "kernel_energy": ("tiny", []),
    "score_matching": ("tiny", []),
    "autoencoder": ("tiny", []),
    "adversarial": ("tiny", []),
    "classifier": ("tiny", []),
    "feature_network": ("digits,tiny", []),
    "cold_mnist": ("digits,tiny", []),
}


def test_every_recipe_has_a_run_that_is_rehearsed():
    named = {configs.load(name).recipe.name for name in RUNS}
    assert named == {name for name, kind in recipes.RECIPES.items() if kind.section is None}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_what_can_be_done_passes_and_leaves_nothing_behind(name, monkeypatch, tmp_path, capfd):
    """One run of each recipe, and of each kind of score: with a learned process, on a chain of levels, of vectors."""
    variant, given = RUNS[name]
    config = override(read(ROOT / "configs" / f"{name}.py", variant), given)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    rehearsed(config, data_of(config, side=8), monkeypatch, tmp_path / "run")
    assert not list(tmp_path.iterdir())
    assert "█" not in capfd.readouterr().err


# ---- What a person reads at the end ----------------------------------------------------------------------------------

BITS = {"bits_per_dim": 2.0, "standard_error": 0.1, "gaussian_baseline": 3.0, "uniform_baseline": 8.0}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, ["better than the Gaussian baseline by 1.0000 bits/dim"]),
        ({"bits_per_dim": 3.1}, ["worse", "by 0.1000 bits/dim", "within 2 standard errors"]),
        (
            {"bits_per_dim": 3.3},
            ["worse", "by 0.3000 bits/dim", "train longer", "train.steps", "or shorter", "train.validate_every"],
        ),
        ({"gaussian_baseline": None}, ["better than the uniform baseline by 6.0000 bits/dim"]),
    ],
)
def test_bits_are_held_against_a_baseline_in_one_line(found, words):
    said = bits.verdict({**BITS, **found})
    assert all(word in said for word in words) and "\n" not in said, said


@pytest.mark.parametrize(
    "found", [{"gaussian_baseline": None, "uniform_baseline": None}, {"bits_per_dim": float("nan")}]
)
def test_there_is_no_verdict_without_both_numbers(found):
    assert bits.verdict({**BITS, **found}) is None


def test_the_share_of_the_initialization_is_that_of_the_average():
    """Of parameters that are 1 at first and 0 after every step."""
    for texts in (["ema.decay=0.9"], ["ema.decay=0.9", "ema.warmup=true"], ["ema.decay=0.5", "ema.warmup=true"]):
        config, ema = toy("Point", *texts), jnp.ones(())
        for step in range(20):
            ema = average(config, ema, jnp.zeros(()), step)
        assert initial_share(config, 20) == pytest.approx(float(ema), rel=1e-4)


@pytest.mark.parametrize(
    ("texts", "steps", "words"),
    [
        (["ema.decay=0.9999"], 500, ["500 steps", "95%", "ema.warmup=true", "ema.decay=0.99"]),
        (["ema.decay=0.9999", "ema.warmup=true"], 500, None),
        (["ema.decay=0.99"], 500, None),
        (["ema.decay=0.9999", "init_from=published"], 500, None),
    ],
)
def test_an_average_that_is_mostly_the_initialization_is_said_with_what_to_do(texts, steps, words):
    said = hardly_averaged(toy("Point", *texts), steps)
    assert (said is None) if words is None else all(word in said for word in words), said


def test_the_decay_that_is_advised_forgets_the_initialization():
    for steps in (1, 4, 30, 99, 100, 500, 2500, 100_000):
        said = hardly_averaged(toy("Point", "ema.decay=0.9999999"), steps)
        decay = float(said.rpartition("=")[2])
        assert 0 <= decay < 1 and decay**steps < 0.05, said
