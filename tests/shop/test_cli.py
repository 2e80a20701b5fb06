"""The command line: a mistake is one line on standard error and a nonzero exit."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest
from runs import ROOT, SMALL, small

from scorejax.experiment import config as configs
from scorejax.experiment.training.train import train
from scorejax.experiment.workdir import check, saved_config
from scorejax.runtime.errors import ConfigError
from scorejax.runtime.writers import read_log

CONFIG = f"--config={ROOT / 'configs/vp_gaussian.py'}"


@pytest.fixture(scope="module")
def main():
    spec = importlib.util.spec_from_file_location("scorejax_main", ROOT / "main.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Neither signal handlers nor logging of the test process are changed."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("scorejax.runtime.errors.show_log", lambda: None)


def test_main_is_short():
    assert len((ROOT / "main.py").read_text().splitlines()) <= 60


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--config"]),
        (["--mode=eval"], ["--config"]),
        ([CONFIG, "--mode=test"], ["'test'", "train", "eval", "sample"]),
        ([CONFIG, "--mode=smaple"], ["'smaple'", "did you mean 'sample'?"]),
        ([CONFIG, "--mode=train-head"], ["did you mean 'train_head'?"]),
        (["--config="], ["--config=NAME"]),
        (["--workdir=elsewhere"], ["elsewhere holds no run", "--config=NAME"]),
        ([CONFIG, "--config.seed"], ["'seed'", "VALUE"]),
        ([CONFIG + ":tiny", "--workdir=/dev/null/run"], ["/dev/null", "--workdir"]),
        ([CONFIG, "--work=x"], ["--work=x", "--workdir"]),
        ([CONFIG, "stray"], ["stray"]),
        (["--config=configs/absent.py"], ["absent.py", "choose"]),
        ([CONFIG + ":large"], ["'large'", "tiny"]),
        ([CONFIG, "--config.optim.rate=1"], ["'optim.rate'", "lr"]),
        ([CONFIG, "--config.sampler.stepper=milstein"], ["'milstein'", "ancestral"]),
        ([CONFIG, "--config.sde=vq"], ["'vq'", "vp"]),
        ([CONFIG, "--config.model=unet"], ["'unet'", "ddpmpp"]),
        ([CONFIG, "--config.data=moon"], ["'moon'", "moons"]),
        ([CONFIG, "--config.sampler.times=uniform"], ["'sampler.times'", "'sampler.time_grid'"]),
        ([CONFIG, "--config.recipe=scores"], ["'scores'", "classifier"]),
        (["--mode=eval", "--workdir=/nonexistent/run"], ["config.json", "/nonexistent/run"]),
        (
            [CONFIG, "--mode=sample", "--workdir=/nonexistent/run"],
            ["checkpoints", "/nonexistent/run", "without --mode"],
        ),
    ],
)
def test_a_mistake_is_one_line_and_a_nonzero_exit(main, capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    try:
        code = main.main(arguments)
    except SystemExit as left:
        code = left.code
    errors = capsys.readouterr().err
    assert code not in (0, None)
    assert errors.count("\n") == 1 and errors.startswith("error: ")
    assert all(word in errors for word in words), errors
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_train_eval_and_sample_share_a_workdir(main, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = [f"--config.{text}" for text in SMALL if not text.startswith("eval")]
    tiny = [f"{CONFIG}:tiny", *overrides, "--config.train.steps=4", "--config.ema.warmup=false"]
    assert main.main(tiny) == 0
    workdir = tmp_path / "runs" / "vp_gaussian-tiny"
    assert "|bits/dim - truth|" in capsys.readouterr().out
    [report] = (workdir / "eval").glob("*.json")
    found = json.loads(report.read_text())
    assert found["step"] == 4
    likelihood, samples = found["likelihood"], found["samples"]
    assert likelihood["units"]["bits_per_dim"] == likelihood["units"]["gaussian_baseline"]
    assert likelihood["units"]["bits_per_dim"] == "bits/dim of bin width 1"  # of vectors
    assert samples["units"]["frechet_distance"] == "squared units of the features"
    assert "worse than the Gaussian baseline" in likelihood["verdict"] and "ema.warmup" in found["notes"][0]
    report.unlink()
    assert main.main(["--mode=eval", f"--workdir={workdir}"]) == 0
    assert report.exists()
    assert main.main(["--mode=sample", f"--workdir={workdir}", "--config.eval.samples=5"]) == 0
    assert list((workdir / "samples").glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["--workdir", "train_head", "sweep", "the first run to try", "optim, ema", "130", "scorejax --w"]),
        (["--mode=help"], ["train_head", "sweep"]),
        (["--config=help"], ["vp_digits", "the first run to try"]),
        (["--config.sampler.stepper=help"], ["euler_maruyama", "dpm_solver", "order=2"]),
        (
            [CONFIG, "--config.help=all"],
            ["--config.sde.beta_max=20.0", "--config.train.batch=512", "--config.model=mlp"],
        ),
    ],
)
def test_help_is_given_without_a_run(main, capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    try:
        code = main.main(arguments)
    except SystemExit as left:
        code = left.code
    said = capsys.readouterr()
    assert not code and not said.err, said.err
    assert all(word in said.out for word in words), said.out
    assert not list(tmp_path.iterdir())


def test_what_nobody_foresaw_is_one_line_too_and_its_traceback_is_kept(main, capsys, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of\norder")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("scorejax.experiment.modes.run", broken)
    assert main.main([CONFIG]) == 1
    said = capsys.readouterr().err
    assert (
        said.startswith("error: RuntimeError: out of order (") and said.count("\n") == 1 and "test_cli.py, line" in said
    )
    kept = Path(re.search(r"\S+\.txt", said)[0])
    assert "Traceback" in kept.read_text() and "in broken" in kept.read_text()
    kept.unlink()


def test_all_settings_as_they_are_shown_are_overrides_that_change_nothing():
    config = configs.load(str(ROOT / "configs/vp_digits.py"), ["guidance=restore:method=dps"])
    with pytest.raises(configs.Help) as shown:
        configs.override(config, ["help=all"])
    again = configs.base()
    lines = [line.removeprefix("--config.") for line in str(shown.value).splitlines()]
    configs.override(again, [line for line in lines if not line.endswith("=None")])
    assert configs.to_dict(again) == configs.to_dict(config)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of 4 steps."""
    workdir = tmp_path_factory.mktemp("trained")
    train(small("train.steps=4"), workdir)
    return workdir


@pytest.mark.slow
def test_evaluating_with_another_config_is_refused(main, capsys, trained):
    assert main.main([CONFIG, "--mode=eval", f"--workdir={trained}", "--config.optim.lr=7"]) == 1
    assert "optim.lr: 0.01 there, 7.0 now" in capsys.readouterr().err


@pytest.mark.parametrize("workdir", ["elsewhere", None])
def test_overrides_reach_the_run(main, capsys, monkeypatch, tmp_path, workdir):
    monkeypatch.chdir(tmp_path)
    flags = [f"--workdir={workdir}"] if workdir else []
    short = [f"--config.{text}" for text in (*SMALL, "train.steps=4")]
    assert main.main([CONFIG, *short, "--config.sampler.stepper=ddim:eta=0.5", *flags]) == 0
    [saved] = tmp_path.rglob("config.json")
    assert saved.parent == tmp_path / (workdir or "runs/vp_gaussian")
    config = saved_config(saved.parent)
    assert config.train.steps == 4 and config.sampler.stepper.name == "ddim" and config.sampler.stepper.eta == 0.5


def test_a_run_goes_on_by_its_folder_alone(main, trained, tmp_path, monkeypatch, capsys):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    workdir = f"--workdir={tmp_path}"
    assert main.main([workdir, "--config.train.steps=8"]) == 0
    assert [record["step"] for record in read_log(tmp_path)] == [4, 8]
    assert main.main([workdir]) == 0  # there is nothing left to be done, as the folder knows
    assert [record["step"] for record in read_log(tmp_path)] == [4, 8]
    capsys.readouterr()
    monkeypatch.setattr("scorejax.experiment.modes.run", lambda *_: "SIGINT")
    for given, command in (
        ([CONFIG, workdir, *(f"--config.{text}" for text in (*SMALL, "train.steps=8"))], workdir),
        ([CONFIG, workdir, "--config.seed=1"], f"{CONFIG} {workdir} --config.seed=1"),  # as nothing was written yet
        ([workdir, "--mode=eval"], f"{workdir} --mode=eval"),
    ):
        main.main(given)
        assert capsys.readouterr().out.endswith(f"stopped by SIGINT; to go on: scorejax {command}\n")


def test_a_setting_younger_than_the_folder_had_its_default_there(trained, tmp_path):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    config, path = small("train.steps=4"), tmp_path / "config.json"
    saved = json.loads(path.read_text())
    del saved["objective"]["name"], saved["optim"]["eps"]
    path.write_text(json.dumps(saved))
    check(tmp_path, config)
    config.objective.name = "sliced"
    with pytest.raises(ConfigError, match=r"objective.name: 'denoising' there, 'sliced' now"):
        check(tmp_path, config)
