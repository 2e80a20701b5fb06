"""What each mode does with a model is decided by what the model can do, and said where it cannot."""

import re

import numpy as np
import pytest
from exact_recipes import TRUTH
from known import config_of
from runs import store

from scorejax import data
from scorejax.experiment import assemble, modes
from scorejax.experiment.evaluation import evaluate
from scorejax.runtime.errors import ConfigError

SHORT = (
    "init_from=none",
    "objective.time_sampling=uniform",
    "eval.samples=6",
    "eval.grid=4",
    "eval.likelihood_examples=4",
    "eval.calibration_examples=4",
    "eval.partition=annealed:chains=4:levels=10",
    "eval.reference_examples=8",
)
# Sections that not every recipe reads: for those that do, and back at their defaults for the others.
READ = ("sampler.steps=2", "sweep.samplers=ancestral", "sweep.steps=(2,)")
CHAINS = ("sampler.steps=10", "sampler.t_min=none", "sampler.stepper=ula:step_size=0.01")
COLD = ("sampler.steps=4", "sampler.t_min=none", "sampler.stepper=cold")
UNREAD = ("sampler.steps=1000", "sampler.t_min=none")
# recipe, what its model can do as errors say it, sections of its report, modes that work
KINDS = {
    "score": ("Gaussian", "score", {"likelihood", "samples"}, {"sample", "sweep", "calibrate"}),
    "score without process": ("Gaussian:process=false", "score without a forward process", None, set()),
    "score of one level": (
        "OneLevel",
        "score of one noise level",
        {"chains", "samples"},
        {"sample"},
    ),
    "restoration": ("Degraded", "restore", {"restoration", "samples"}, {"sample"}),
    "restoration alone": ("Degraded:starts=false", "restore", {"restoration"}, set()),
    "energy": ("Unnormalized", "energy", {"partition"}, set()),
    "density and samples": ("Density", "log_prob, sample", {"likelihood", "samples"}, {"sample"}),
    "density": ("Density:sample=false", "log_prob", {"likelihood"}, set()),
    "latent variables": ("Latent", "evidence", {"evidence"}, set()),
    "samples": ("Density:log_prob=false", "sample", {"samples"}, {"sample"}),
    "logits": ("Quadrants", "logits", {"classification"}, set()),
    "nothing": ("Density:log_prob=false:sample=false", "none of the capabilities", None, set()),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request, tmp_path_factory):
    """A stored model of each kind: its config, its folder, and what is expected of it."""
    recipe, can, sections, works = KINDS[request.param]
    source = "moons" if recipe == "Quadrants" else "gaussian"  # of which only the first have classes
    read = {"OneLevel": CHAINS, "Degraded": COLD, "Gaussian": READ}.get(recipe.partition(":")[0], UNREAD)
    config, folder = config_of(recipe, f"data={source}", *SHORT, *read), tmp_path_factory.mktemp("run")
    store({"w": np.zeros(1, np.float32)}, folder, 7)
    return config, folder, can, sections, works


def refused(what, config, can):
    """The error says what was asked, which recipe it is, and what its model can do."""
    recipe = re.escape(config.recipe.name)
    said = rf"{re.escape(what)} needs a model with .*; recipe '{recipe}' makes one with {can}: leave it out"
    return pytest.raises(ConfigError, match=said)


@pytest.mark.slow
def test_an_evaluation_measures_what_a_model_can_or_is_refused(kind, capsys):
    config, folder, can, sections, _ = kind
    if sections is None:
        with refused("--mode=eval", config, can):
            modes.run("eval", config, folder)
        return
    report = evaluate.evaluate(config, folder)
    assert {each.name for each in evaluate.EVALUATIONS} & set(report) == sections
    assert report["step"] == 7 and (folder / "eval" / "step-7.json").is_file()
    said = capsys.readouterr().out
    for section, words in (
        ("evidence", "bits/dim at most"),
        ("samples", "samples, "),
        ("restoration", "algorithm 2"),
        ("classification", "accuracy"),
    ):
        assert (words in said) == (section in sections)
    assert ("bits/dim  " in said) == bool({"likelihood", "partition"} & sections)
    if "likelihood" in sections:
        # the density is exact; the score's has the error of its solver and of the prior at the last time
        assert report["likelihood"]["bits_per_dim"] == pytest.approx(report["likelihood"]["truth"], abs=0.02)
        assert (report["likelihood"]["evaluations_mean"] == 1) == ("log_prob" in can)
    if "evidence" in sections:
        found, test = report["evidence"], assemble.dataset(config, "test")
        chosen = test.examples[data.spread(len(test), 4)]
        assert found["nats"] == pytest.approx(-float(np.mean(TRUTH.log_prob(chosen))), rel=1e-5)
    if "classification" in sections:
        [level] = report["classification"]["levels"]  # clean data alone, for there is no process
        assert level["log_snr"] is None and level["accuracy"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sample", "sweep", "calibrate"])
def test_a_mode_works_or_says_what_the_model_can_do(kind, mode, capsys):
    config, folder, can, _, works = kind
    if mode not in works:
        with refused(f"--mode={mode}", config, can):
            modes.run(mode, config, folder)
        return
    assert modes.run(mode, config, folder) is None
    said = capsys.readouterr().out
    if mode == "sample":
        drawn = np.load(next(folder.glob("samples/step-7-*/x.npy")))
        assert drawn.shape == (6, 4) and np.isfinite(drawn).all() and "6 samples" in said
    if mode == "sweep":
        assert "| ancestral |" in said and (folder / "eval" / "sweep-7.json").is_file()
    if mode == "calibrate":
        assert "4 examples" in said and (folder / "eval" / "gamma-step-7.npz").is_file()


@pytest.mark.parametrize("mode", ["train_head", "train_dequantizer"])
def test_what_is_trained_next_to_a_score_is_refused_next_to_anything_else(kind, mode):
    config, folder, can, _, works = kind
    if "calibrate" not in works:
        with refused(f"--mode={mode}", config, can):
            modes.run(mode, config, folder)


@pytest.mark.parametrize("guidance", ["classifier_free", "inpaint"])
def test_guidance_of_a_model_without_a_score_is_refused(kind, guidance):
    config, folder, can, _, works = kind
    reads_guidance = "guidance" in config.recipe.find().uses
    config.guidance = guidance
    try:
        if "calibrate" not in works:
            unread = pytest.raises(ConfigError, match=r"section 'guidance' is set, but recipe '.*' does not read it")
            with refused(f"guidance = '{guidance}'", config, can) if reads_guidance else unread:
                modes.run("sample", config, folder)
    finally:
        config.guidance = "none"
