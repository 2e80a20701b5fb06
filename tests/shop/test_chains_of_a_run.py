"""Chains of a model of one noise level: what their report says, and what does not fit is refused."""

import pytest
from known import config_of, subject_of

from scorejax.experiment import assemble
from scorejax.experiment.evaluation import chains
from scorejax.runtime.errors import ConfigError

SHORT = ("objective.time_sampling=uniform", "sampler.t_min=none", "sampler.steps=40")


def report(stepper, recipe="OneLevel:energy=true"):
    subject, _ = subject_of(config_of(recipe, *SHORT, f"sampler.stepper={stepper}"))
    return chains.mixing(subject, moves=10)


def test_the_report_of_chains_says_how_they_mix_and_what_metropolis_accepts():
    """Long steps are refused more often than short ones, but their states are worth more draws."""
    short, long = report("mala:step_size=0.001"), report("mala:step_size=0.05:steps=60")
    assert short["acceptance"] > 0.98 > long["acceptance"] > 0.3
    assert long["effective_sample_size"] > 4 * short["effective_sample_size"]
    assert short["potential_scale_largest"] > 1.5 > long["potential_scale_largest"]
    assert not short["diverged"]
    assert "have not mixed" in " ".join(chains.lines(short))
    assert "acceptance" not in report("ula:step_size=0.01", "OneLevel")


def test_diverging_chains_are_said():
    found = report("ula:step_size=30.0:steps=20")
    assert found["diverged"]
    assert "DIVERGED" in " ".join(chains.lines(found))


def test_a_sampler_that_does_not_fit_one_noise_level_is_refused():
    config = config_of("OneLevel", *SHORT, "sampler.stepper=ancestral")
    subject, _ = subject_of(config)
    with pytest.raises(ConfigError, match="choose one that stays at a level"):
        assemble.sampler(config, subject.sde)
    config = config_of("OneLevel", *SHORT, "sampler.stepper=ula", "sampler.clip=dynamic:low=-1:high=1")
    with pytest.raises(ConfigError, match="predicts none"):
        assemble.sampler(config, subject.sde)
