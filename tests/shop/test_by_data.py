"""Settings that are `auto` are read off the training data before a run, and stored with it as numbers."""

import numpy as np
import pytest
from runs import small

from scorejax.experiment import by_data, checks, modes
from scorejax.experiment import config as configs
from scorejax.experiment import workdir as workdir_lib
from scorejax.runtime.errors import ConfigError
from scorejax.sdes import edm

ALL = (
    "recipe.sigma_data=auto", "sde.sigma_min=auto", "sde.sigma_max=auto",
    "objective.time_sampling=lognormal:mean=auto:std=auto",
)  # fmt: skip
EDM = ("sde=edm", "recipe.predicts=edm", "sampler.t_min=none", "objective.weighting=edm")


def table(folder, scale=1.0, n=300):
    x = scale * np.random.default_rng(0).standard_normal((n, 2)) * [1.0, 4.0]
    np.savez(folder / "x.npz", x=x.astype(np.float32))
    return f"data=npz:path={folder / 'x.npz'}"


def test_numbers_of_the_data_stand_in_the_place_of_auto(tmp_path):
    config = small(table(tmp_path), "data.normalize=none", *EDM, *ALL)
    found = by_data.settled(config)
    assert found.recipe.sigma_data == pytest.approx(8.5**0.5, rel=0.05)
    assert found.sde.make() == edm(found.sde.sigma_min, found.sde.sigma_max)
    assert found.sde.sigma_min == pytest.approx(0.2, rel=0.15) and found.sde.sigma_max == pytest.approx(40, rel=0.15)
    assert (
        found.objective.time_sampling.startswith("lognormal:mean=0.6") and "auto" not in found.objective.time_sampling
    )
    assert config.recipe.sigma_data == "auto"
    assert by_data.settled(found) is found


def test_levels_of_counted_numbers_bound_the_noise_from_below(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).integers(0, 5, (400, 2)))
    found = by_data.levels(small(f"data=npz:path={tmp_path / 'x.npz'}", "data.normalize=none"))
    assert found.sigma_min == pytest.approx(0.2 * 2**0.5, rel=0.1)
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).integers(0, 2, (400, 2)))
    found = by_data.levels(small(f"data=npz:path={tmp_path / 'x.npz'}", "data.normalize=none"))
    assert found.sigma_min == pytest.approx(0.128)


def test_auto_is_refused_where_it_means_nothing_or_was_not_read_yet(tmp_path):
    with pytest.raises(ConfigError, match="beta_max"):
        small("sde.beta_max=auto")
    with pytest.raises(ConfigError, match="one of auto or a number of more than 0"):
        small("recipe.sigma_data=much")
    with pytest.raises(ConfigError, match="read off the training data, which was not done yet"):
        checks.check(small(table(tmp_path), *EDM, "recipe.sigma_data=auto"))
    np.savez(tmp_path / "x.npz", x=np.zeros((10, 2), np.float32))
    with pytest.raises(ConfigError, match="cannot be read off data = 'npz'"):
        by_data.settled(small(f"data=npz:path={tmp_path / 'x.npz'}", "data.normalize=none", *EDM, *ALL))


@pytest.mark.slow
def test_a_run_keeps_the_numbers_that_it_began_with(tmp_path):
    given = [table(tmp_path), *EDM, *ALL, "train.steps=4"]
    modes.run("train", small(*given), tmp_path / "run")
    stored = workdir_lib.saved_config(tmp_path / "run")
    assert configs.to_dict(stored) == configs.to_dict(by_data.settled(small(*given)))
    table(tmp_path, scale=3.0)  # other data are refused by the run itself, not by other numbers
    assert configs.to_dict(by_data.settled(small(*given), tmp_path / "run")) == configs.to_dict(stored)
