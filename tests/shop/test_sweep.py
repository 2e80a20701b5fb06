"""A sweep tells samplers apart, marks the ones that nothing beats, and refuses mistakes before any work."""

import json

import pytest
from known import config_of

from scorejax.experiment import config as configs
from scorejax.experiment.evaluation import sweep
from scorejax.experiment.evaluation.sweep import with_sampler
from scorejax.experiment.evaluation.sweep_pages import Point, pareto, table
from scorejax.runtime.errors import ConfigError

GAUSSIAN = "vp_gaussian:tiny"


def test_the_pareto_front_holds_the_points_that_nothing_beats():
    points = [Point("a", 10, 10, 5.0), Point("b", 10, 10, 4.0), Point("a", 20, 20, 4.5), Point("b", 20, 20, 1.0)]
    assert pareto(points) == [points[1], points[3]]
    assert pareto([Point("a", 1, 1, float("nan")), points[0]])[-1] == points[0]


def test_a_table_has_a_row_a_sampler_and_a_column_a_number_of_steps():
    lines = table([Point("a", 10, 10, 5.0), Point("b", 5, 5, 4.0)], 1.0).splitlines()
    assert lines[0] == "| steps | 5 | 10 |"
    assert lines[2:4] == ["| a |  | 5 |", "| b | 4 |  |"]


def test_a_sampler_of_a_sweep_forgets_the_one_of_the_run():
    run = configs.load(GAUSSIAN, ["sampler.corrector=langevin:snr=0.1", "sampler.t_min=1e-3", "sampler.gamma=g.npz"])
    chosen = with_sampler(run, "probability_flow:method=heun:time_grid=log_snr", 7).sampler
    assert (chosen.stepper.name, chosen.stepper.method) == ("probability_flow", "heun")
    assert (chosen.steps, chosen.time_grid.name, chosen.t_min, chosen.gamma) == (7, "log_snr", 1e-3, "g.npz")
    assert chosen.corrector.name == "none"
    corrected = with_sampler(run, "ancestral:corrector=langevin:corrector.snr=0.2", 7).sampler
    assert (corrected.stepper.name, corrected.corrector.name, corrected.corrector.snr) == ("ancestral", "langevin", 0.2)
    assert (run.sampler.corrector.name, run.sampler.corrector.snr) == ("langevin", 0.1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ancestral:steps=3", "sweep.steps"),
        ("ancestral:color=x", "color"),
        ("unipc:x", "'x' is no setting"),
        ("magic", "'magic'; choose one of euler_maruyama"),
        ("ancestral:time_grid=magic", "'magic'; choose one of auto, uniform"),
    ],
)
def test_a_mistake_in_a_sampler_is_told(text, words):
    with pytest.raises(ConfigError, match=words):
        with_sampler(configs.load(GAUSSIAN), text, 5)


@pytest.mark.slow
def test_a_sweep_measures_every_sampler_at_every_number_of_steps(tmp_path):
    run = config_of("Gaussian", "sweep.samplers=ancestral,probability_flow:method=heun", "sweep.steps=(2,4)")
    run.sweep.bits = 10
    result = sweep.sweep(run, tmp_path)
    assert [(p["sampler"].partition(":")[0], p["steps"]) for p in result["points"]] == [
        ("ancestral", 2), ("ancestral", 4), ("probability_flow", 2), ("probability_flow", 4),
    ]  # fmt: skip
    nfe = [p["nfe"] for p in result["points"]]
    assert nfe == [3, 5, 5, 9]  # with the last denoising; Heun evaluates twice a step
    saved = json.loads(next((tmp_path / "eval").glob("sweep-*.json")).read_text())
    assert saved["points"] == result["points"]
    assert next((tmp_path / "eval").glob("sweep-?.png")).stat().st_size > 10_000
    assert any(p["on_the_front"] for p in saved["points"])
    # the two that draw from a reverse chain have a bound
    assert [(row["label"], row["steps"], row["evaluations"]) for row in saved["bits"]] == [
        ("ancestral (posterior chain)", 2, 3), ("ancestral (posterior chain)", 4, 5),
    ]  # fmt: skip
    assert all(row["examples"] == 10 and row["bits_per_dim"] > 0 for row in saved["bits"])
    assert next((tmp_path / "eval").glob("sweep-*-bits.png")).stat().st_size > 10_000
    assert not list((tmp_path / "eval").glob("bound-*"))
