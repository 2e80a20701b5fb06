"""Nothing measured is lost: sections of a report are merged, and results of other settings lie next to each other."""

import json

import numpy as np
import pytest
from known import config_of, subject_of

from scorejax.experiment.evaluation import draw, evaluate, places
from scorejax.pictures import save_grid, sign, signature
from scorejax.runtime.files import replacing

NUMBERS = ("eval.likelihood_examples=8", "eval.batch=8", "eval.samples=16", "eval.grid=4", "eval.reference_examples=50")
BITS, SAMPLES = ("eval.samples=0",), ("eval.exact=false",)


def evaluated(workdir, *overrides):
    """The reports of a run after one more evaluation, by name."""
    evaluate.evaluate(config_of("Density", *NUMBERS, *overrides), workdir)
    return {path.name: json.loads(path.read_text()) for path in (workdir / "eval").glob("*.json")}


def content(workdir, pattern):
    return {path.name: path.read_bytes() for path in (workdir / "samples").glob(pattern)}


@pytest.mark.slow
def test_an_evaluation_of_other_things_keeps_what_is_there(tmp_path):
    bits = evaluated(tmp_path, *BITS)["step-7.json"]
    both = evaluated(tmp_path, *SAMPLES)["step-7.json"]
    assert both["likelihood"] == bits["likelihood"] and both["samples"]["n"] == 16
    again = evaluated(tmp_path)
    assert list(again) == ["step-7.json"]
    assert again["step-7.json"]["likelihood"] == bits["likelihood"]
    assert again["step-7.json"]["samples"] == both["samples"]


OTHERS = {
    "step-7-likelihood_examples-9.json": (*BITS, "eval.likelihood_examples=9"),
    "step-7-samples-17.json": (*SAMPLES, "eval.samples=17"),
    "step-7-seed-5.json": (*SAMPLES, "eval.seed=5"),
}


@pytest.mark.slow
def test_results_of_other_settings_lie_next_to_each_other_and_are_written_again_by_their_own(tmp_path):
    reports, pages = evaluated(tmp_path), content(tmp_path, "*.png")
    assert list(reports) == ["step-7.json"]
    for name, overrides in OTHERS.items():
        before, reports = reports, evaluated(tmp_path, *overrides)
        assert reports.keys() == before.keys() | {name} and before.items() <= reports.items()
        before, pages = pages, content(tmp_path, "*.png")
        assert before.items() <= pages.items() and len(pages) == len(before) + (overrides[0] in SAMPLES)
    assert evaluated(tmp_path, *OTHERS["step-7-samples-17.json"]) == reports
    assert content(tmp_path, "*.png") == pages


def test_reports_from_before_settings_were_kept_in_them_are_not_overwritten_either(tmp_path):
    report = evaluated(tmp_path, *BITS)["step-7.json"]
    del report["likelihood"]["settings"]
    (tmp_path / "eval" / "step-7.json").write_text(json.dumps(report))
    assert len(evaluated(tmp_path, *BITS, "eval.likelihood_examples=9")) == 2
    assert evaluated(tmp_path, *BITS)["step-7.json"]["likelihood"]["settings"]


@pytest.mark.parametrize(
    ("overrides", "title"),
    [
        ((), ""),
        (("eval.batch=3", "eval.samples=9"), ""),
        (("sampler.stepper=dpm_solver", "sampler.steps=20"), "-dpm_solver-20"),
        (("sampler.stepper=dpm_solver:order=3", "sampler.steps=20"), "-dpm_solver-20-order-3"),
        (("sampler.steps=6",), "-euler_maruyama-6"),
        (("sampler.time_grid=log_snr",), "-euler_maruyama-4-log_snr"),
        (("eval.seed=1",), "-seed-1"),
    ],
)
def test_samples_are_called_after_what_differs_from_the_runs_own_config(tmp_path, overrides, title):
    own = config_of("Gaussian", "sampler.steps=4")
    places.workdir_lib.adopt(tmp_path, own)
    assert places.title(config_of("Gaussian", "sampler.steps=4", *overrides), tmp_path) == title


@pytest.mark.slow
def test_pages_of_two_samplers_lie_next_to_each_other_though_the_runs_config_was_changed_between(tmp_path):
    where = []
    for steps in (2, 3, 2):
        model, _ = subject_of(config_of("Gaussian", f"sampler.steps={steps}"))
        where.append(draw.save_page(tmp_path / "page.png", model, np.zeros((4, 4), np.float32)))
    assert [path.name for path in where] == ["page.png", "page-steps-3.png", "page.png"]


def test_a_name_that_would_be_too_long_or_is_taken_is_a_digest(tmp_path):
    there = {tmp_path / "a.json": {"x": 1, "y": 1}, tmp_path / "a-x-2.json": {"x": 2, "y": 2}}
    assert places.place(tmp_path / "a.json", {"x": 1, "y": 1}, there.get) == tmp_path / "a.json"
    taken = places.place(tmp_path / "a.json", {"x": 2, "y": 1}, there.get)
    long = places.place(tmp_path / "a.json", {"x": "2" * 300, "y": 1}, there.get)
    assert taken not in there and long not in there and len(long.name) < 30


def test_a_signed_picture_is_the_same_picture(tmp_path):
    page = np.arange(192, dtype=np.uint8).reshape(1, 8, 8, 3)
    save_grid(tmp_path / "plain.png", page)
    save_grid(tmp_path / "signed.png", page)
    sign(tmp_path / "signed.png", '{"sampler": "ü"}')
    from PIL import Image

    plain, signed = (np.asarray(Image.open(tmp_path / name)) for name in ("plain.png", "signed.png"))
    np.testing.assert_array_equal(plain, signed)
    assert signature(tmp_path / "signed.png") == '{"sampler": "ü"}' and signature(tmp_path / "plain.png") is None


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_numbers_are_written_before_the_pictures(tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("no picture")

    monkeypatch.setattr(draw, "save_page", fail)
    with pytest.raises(ValueError, match="no picture"):
        evaluated(tmp_path)
    assert {"likelihood", "samples"} <= json.loads((tmp_path / "eval" / "step-7.json").read_text()).keys()
