"""The command line: a mistake is one line on standard error and a nonzero exit."""

import importlib.util
import json

import pytest
from runs import ROOT, SMALL

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
        ([CONFIG, "--work=x"], ["--work=x", "--workdir"]),
        ([CONFIG, "stray"], ["stray"]),
        (["--config=configs/absent.py"], ["absent.py", "choose"]),
        ([CONFIG + ":large"], ["'large'", "tiny"]),
        ([CONFIG, "--config.optim.rate=1"], ["'optim.rate'", "lr"]),
        ([CONFIG, "--config.sampler.stepper=milstein"], ["'milstein'", "ancestral"]),
        ([CONFIG, "--config.sde.name=vq"], ["'vq'", "vp"]),
        ([CONFIG, "--config.model.name=unet"], ["'unet'", "ddpmpp"]),
        ([CONFIG, "--config.data.name=moon"], ["'moon'", "moons"]),
        (["--mode=eval", "--workdir=/nonexistent/run"], ["config.json", "/nonexistent/run"]),
        ([CONFIG, "--mode=sample", "--workdir=/nonexistent/run"], ["checkpoints", "/nonexistent/run"]),
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
    tiny = [f"{CONFIG}:tiny", *overrides, "--config.train.steps=4"]
    assert main.main(tiny) == 0
    workdir = tmp_path / "runs" / "vp_gaussian-tiny"
    assert "|bits/dim - truth|" in capsys.readouterr().out
    [report] = (workdir / "eval").glob("*.json")
    assert json.loads(report.read_text())["step"] == 4
    report.unlink()
    assert main.main(["--mode=eval", f"--workdir={workdir}"]) == 0
    assert report.exists()
    assert main.main(["--mode=sample", f"--workdir={workdir}", "--config.eval.samples=5"]) == 0
    assert list((workdir / "samples").glob("*.png"))


def test_evaluating_with_another_config_is_refused(main, capsys, tmp_path):
    from runs import small

    from scorejax.experiment.training import train

    train.train(small("train.steps=4"), tmp_path)
    assert main.main([CONFIG, "--mode=eval", f"--workdir={tmp_path}", "--config.optim.lr=7"]) == 1
    assert "optim.lr: 0.01 there, 7.0 now" in capsys.readouterr().err


@pytest.mark.parametrize("workdir", [[], ["--workdir=elsewhere"]])
def test_overrides_reach_the_run(main, monkeypatch, tmp_path, workdir):
    from scorejax.experiment.training import train

    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(train, "train", lambda config, folder: seen.append((config.train.steps, str(folder))) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main.main([CONFIG, "--config.train.steps=70", *workdir])
    assert seen == [(70, "elsewhere" if workdir else "runs/vp_gaussian")]


def test_a_setting_younger_than_the_folder_had_its_default_there(monkeypatch, tmp_path):
    from runs import small

    from scorejax.experiment import workdir
    from scorejax.runtime import checkpoint
    from scorejax.runtime.errors import ConfigError

    config = small()
    workdir.claim(tmp_path, config)
    monkeypatch.setattr(checkpoint, "steps", lambda folder: [4])
    saved = json.loads((tmp_path / workdir.FILE).read_text())
    del saved["objective"]["name"]
    (tmp_path / workdir.FILE).write_text(json.dumps(saved))
    workdir.check(tmp_path, config)
    config.objective.name = "sliced"
    with pytest.raises(ConfigError, match=r"objective.name: 'denoising' there, 'sliced' now"):
        workdir.check(tmp_path, config)
