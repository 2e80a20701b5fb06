"""Guidance from a config: stories of given images and of classes, under networks whose scores are known exactly.

Images are the 8x8 digits. The network is the score of independent pixels `N(m, 0.25)`, the mean of class `k` (where it
takes labels) being `(k - 4) / 10`; so results have closed forms and compile in a second.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from scorejax import build, classifiers, controlled, data, evaluate, guide, settings, workdir
from scorejax.config import load, override, to_dict
from scorejax.errors import ConfigError
from scorejax.evaluation import draw
from scorejax.guidance.operators.filters import AveragePool
from scorejax.guide import by_class

ROOT = Path(__file__).parents[2]
QUICK = ("sampler.stepper=ancestral", "sampler.times=log_snr", "sampler.steps=8", "eval.samples=4", "eval.batch=4")
VARIANCE = 0.25


def config_of(*overrides):
    config = load(str(ROOT / "configs/vp_digits.py:tiny"), [*QUICK, "eval.features=pixels", *overrides])
    config.eval.reference_examples = 50
    return config


def mean(labels):
    return (jnp.asarray(labels, jnp.float32) - 4.0).reshape(-1, 1, 1, 1) / 10.0


def exact(process, x, t, centre):
    total = process.scale(process.alpha(t) ** 2 * VARIANCE + process.variance(t), t, jnp.ones_like(x))
    return (process.scale(process.alpha(t), t, jnp.broadcast_to(centre, x.shape)) - x) / total


@pytest.fixture(scope="module")
def train():
    return build.dataset(config_of())


@pytest.fixture(autouse=True)
def known_scores(monkeypatch, train):
    """Networks are replaced by exact scores, and trained weights by a number."""

    def score(config, process, module, params, class_labels=None, **_):
        centre = 0.0 if class_labels is None else mean(class_labels)
        return jax.tree_util.Partial(lambda x, t: exact(process, x, t, centre))

    def labelled_score(config, process, module, params):
        build.check_takes_labels(config)
        # no class has the mean of all
        centre = lambda label: jnp.where((label == 10).reshape(-1, 1, 1, 1), 0.05, mean(label))  # noqa: E731
        return jax.tree_util.Partial(lambda x, t, label: exact(process, x, t, centre(label)))

    def restore(config, workdir, examples):
        return evaluate.Model(config, build.sde(config), None, {"w": np.zeros(1, np.float32)}, 7)

    monkeypatch.setattr(build, "score", score)
    monkeypatch.setattr(build, "labelled_score", labelled_score)
    monkeypatch.setattr(evaluate, "restore", restore)


def log_likelihoods(process, x, t):
    """`log N(x; alpha m_k, alpha^2 v + sigma^2)` of every class `[B, 10]`, up to a constant."""
    alpha, total = (
        u[:, None, None] for u in (process.alpha(t), process.alpha(t) ** 2 * VARIANCE + process.variance(t))
    )
    difference = x.reshape(len(x), 1, -1) - alpha * mean(jnp.arange(10)).reshape(1, 10, 1)
    return -jnp.sum(difference**2 / (2 * total), -1)


@pytest.fixture
def classifier(monkeypatch):
    """A network that is the score of all classes together, and their exact classifier; pixels and ones as features."""

    def score(config, process, *_, **__):
        total = jax.tree_util.Partial(lambda x, t: jax.nn.logsumexp(log_likelihoods(process, x, t), -1).sum())
        return jax.tree_util.Partial(lambda x, t: jax.grad(total)(x, t))

    def restored(folder, process, examples, **_):
        logits = jax.tree_util.Partial(lambda x, t: log_likelihoods(process, x, t))
        features = jax.tree_util.Partial(lambda x, t: jnp.concatenate([x, jnp.ones_like(x)], -1))
        return classifiers.Classifier(logits, features, 10, (), 3)

    monkeypatch.setattr(build, "score", score)
    monkeypatch.setattr(classifiers, "restore", restored)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, train):
    """Four digits as PNG files, twice as large and coloured, so that they must be brought to the data's form."""
    where = tmp_path_factory.mktemp("digits")
    for i, image in enumerate(data.to_bytes(train.examples[:4], 17)):
        large = image[..., 0].repeat(2, 0).repeat(2, 1)
        Image.fromarray(np.stack([large] * 3, -1)).save(where / f"{i}.png")
    return where


def control(tmp_path, *overrides):
    """The report and the arrays of one story."""
    report = controlled.control(config_of(*overrides), tmp_path)
    return report, {file.stem: np.load(file) for file in Path(report["folder"]).glob("*.npy")}


# given images


def test_inpainting_keeps_what_is_known_and_draws_the_rest(tmp_path, train):
    report, rows = control(tmp_path, "guidance=inpaint")
    test = build.dataset(config_of(), "test")
    truth = test.examples[data.spread(len(test), 4)]
    np.testing.assert_array_equal(rows["x"][:, :, :4], truth[:, :, :4])
    assert np.all(rows["measured"][:, :, 4:] == 8) and rows["x"][:, :, 4:].std() > 2
    assert report["n"] == 4 and report["of"] == 297 and report["nfe"] == 9 and report["residual"]["mean"] == 0.0
    assert report["ssim_window"] == 7 and report["restored"]["psnr"]["mean"] < 20
    assert json.loads((tmp_path / "eval/guidance-inpaint-step-7.json").read_text())["seed"] == 43
    assert np.asarray(Image.open(tmp_path / "samples/inpaint-step-7.png")).shape[1] > 4 * 64


@pytest.mark.parametrize(
    "method", ["pigdm", *(pytest.param(m, marks=pytest.mark.slow) for m in ("dps", "moment_matching", "ddrm"))]
)
def test_every_method_fills_a_mask(tmp_path, method):
    report, _ = control(tmp_path, "guidance=inpaint", f"guidance.method={method}", "guidance.sigma_y=0.05")
    assert np.isfinite(report["restored"]["l2"]["mean"]) and report["residual"]["mean"] < 0.5


def test_an_exact_measurement_is_met_and_its_blind_part_is_the_models(tmp_path):
    # given block means, pixels of a Gaussian are the pseudo-inverse plus noise without block means
    report, rows = control(
        tmp_path, "guidance=restore", "guidance.method=pigdm", "guidance.data_std=0.5", "sampler.steps=40"
    )
    assert report["residual"]["mean"] < 0.02
    means = rows["x"].astype(float).reshape(4, 4, 2, 4, 2, 1).mean((2, 4))
    measured = rows["measured"].astype(float)[:, ::2, ::2]
    assert np.abs(means - measured).mean() < 1.5
    assert rows["x"].reshape(4, 4, 2, 4, 2).std((2, 4)).mean() > 1.0


def test_results_depend_neither_on_the_batch_nor_on_its_other_images(tmp_path, folder):
    asked = ("guidance=restore", "guidance.sigma_y=0.1", f"guidance.input={folder}")
    _, four = control(tmp_path / "4", *asked)
    _, three = control(tmp_path / "3", *asked, "eval.batch=3")
    assert np.abs(four["x"].astype(int) - three["x"]).max() <= 1 and np.mean(four["x"] != three["x"]) < 0.02


def test_images_of_a_folder_come_in_the_form_of_the_data(tmp_path, folder, train):
    report, _ = control(tmp_path, "guidance=edit", "guidance.t0=0.01", f"guidance.input={folder}")
    found = data.given(folder, (8, 8, 1), 17)
    assert np.abs(found[np.arange(4)].astype(int) - train.examples[:4]).max() <= 2  # Lanczos rings
    assert report["n"] == report["of"] == 4 and report["input"]["path"] == str(folder)


@pytest.mark.slow
def test_measured_images_are_restored_without_a_truth_to_compare_with(tmp_path, train):
    small = train.examples[:4].reshape(4, 4, 2, 4, 2).mean((2, 4)).astype(np.uint8)
    for i, image in enumerate(data.to_bytes(small, 17)):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    asked = ("guidance=restore", "guidance.measured=true", f"guidance.input={tmp_path}", "sampler.steps=40")
    report, rows = control(tmp_path / "run", *asked)
    assert "restored" not in report and report["residual"]["mean"] < 0.02
    np.testing.assert_array_equal(rows["measured"][:, ::2, ::2, 0], small)


def test_an_edit_keeps_the_more_the_shorter_it_is_and_what_the_mask_holds(tmp_path):
    short, _ = control(tmp_path, "guidance=edit", "guidance.t0=0.002")
    long, _ = control(tmp_path, "guidance=edit", "guidance.t0=0.9")
    assert short["to_source"]["l2"]["mean"] < 0.5 < 2 < long["to_source"]["l2"]["mean"]
    realism = long["realism"]
    assert realism["n_target"] == 50 and realism["frechet_distance_of_source"] > 0
    _, rows = control(tmp_path, "guidance=edit", "guidance.t0=0.9", "guidance.mask=half")
    test = build.dataset(config_of(), "test")
    np.testing.assert_array_equal(rows["x"][:, :, :4], test.examples[data.spread(len(test), 4)][:, :, :4])


@pytest.mark.slow
def test_a_translation_without_its_experts_is_an_edit_and_with_them_is_faithful(tmp_path, classifier):
    weights = ("guidance.lambda_s=0", "guidance.lambda_i=0", "guidance.low_pass=2", "guidance.classifier=there")
    far = ("guidance.t0=0.9", "sampler.steps=30")
    _, edited = control(tmp_path, "guidance=edit", *far)
    plain, translated = control(tmp_path, "guidance=translate", *far, *weights)
    np.testing.assert_array_equal(edited["x"], translated["x"])
    held, _ = control(tmp_path, "guidance=translate", *far, *weights, "guidance.lambda_i=1")
    assert held["to_source"]["l2"]["mean"] < 0.8 * plain["to_source"]["l2"]["mean"]
    away, _ = control(tmp_path, "guidance=translate", *far, *weights, "guidance.lambda_s=300")
    assert away["to_source"]["l2"]["mean"] > plain["to_source"]["l2"]["mean"]


def test_a_perceptual_distance_is_reported_where_one_is_given(tmp_path):
    report = controlled.control(
        config_of("guidance=inpaint"), tmp_path, perceptual=lambda x, y: jnp.abs(x - y).mean((1, 2, 3))
    )
    assert 0 < report["restored"]["lpips"]["mean"] < 2


# classes


def drawn(tmp_path, train, *overrides):
    """Mean pixel of each sample, in model space."""
    config = config_of("eval.samples=20", "eval.grid=20", "eval.batch=20", "sampler.steps=20", *overrides)
    samples = draw.draw(evaluate.steered(evaluate.restore(config, tmp_path, train), train), train, tmp_path)
    return (np.asarray(samples.x, float).mean((1, 2, 3)) + 0.5) / 8.5 - 1, samples.folder


CONDITIONAL = ("model.conditional=true", "model.label_dropout=0.1")


def test_samples_are_of_the_classes_wanted_in_turn(tmp_path, train):
    found, _ = drawn(tmp_path, train, *CONDITIONAL, "guidance=classifier_free", "guidance.labels=(1,8)")
    np.testing.assert_allclose(found[::2].mean(), -0.3, atol=0.06)
    np.testing.assert_allclose(found[1::2].mean(), 0.4, atol=0.06)


@pytest.mark.slow
def test_a_larger_scale_goes_further_from_no_class_and_a_negative_one_away_from_it(tmp_path, train):
    # between Gaussians of one variance the guided score is that of the extrapolated mean
    asked = (*CONDITIONAL, "guidance=classifier_free", "guidance.labels=(5,)")
    (plain, first), (far, second), (away, third) = (
        drawn(tmp_path, train, *asked, f"guidance.scale={scale}", *more)
        for scale, more in ((1, ()), (5, ()), (2, ("guidance.negative=8",)))
    )
    np.testing.assert_allclose(
        [plain.mean(), far.mean(), away.mean()], [0.1, 0.05 + 5 * 0.05, 0.4 - 2 * 0.3], atol=0.06
    )
    assert len({first, second, third}) == 3


@pytest.mark.slow
def test_the_exact_classifier_makes_the_conditional_law(tmp_path, train, classifier):
    asked = ("guidance=classifier", "guidance.classifier=there", "guidance.labels=(8,)")
    found, _ = drawn(tmp_path, train, *asked)
    np.testing.assert_allclose([found.mean(), found.std()], [0.4, 0.0625], atol=0.05)
    off, _ = drawn(tmp_path, train, *asked, "guidance.interval=(90,91)")
    assert abs(off.mean() - 0.05) < 0.2 and off.std() > 0.15


def test_without_guidance_the_classes_come_in_turn_and_nothing_else_changes(tmp_path, train):
    config = config_of(*CONDITIONAL)
    classes = guide.classes(config, build.sde(config), train)
    np.testing.assert_array_equal(classes.wanted(jnp.arange(12)), [*range(10), 0, 1])
    assert guide.classes(config_of(), build.sde(config), train).wanted(jnp.arange(3)) is None


def test_a_conditional_network_restores_by_the_labels_of_the_images_or_by_none(folder, train):
    config = config_of(*CONDITIONAL, "guidance=inpaint")
    process = build.sde(config)
    task, classes = guide.task(config, process, train), guide.of_task(config, process, train)
    given = controlled.read(config, task, train)
    np.testing.assert_array_equal(controlled.wanted_labels(config, task, train, classes, given), given.labels)
    config.guidance.input = str(folder)
    given = controlled.read(config, task, train)
    np.testing.assert_array_equal(controlled.wanted_labels(config, task, train, classes, given), [10] * 4)
    config = config_of(*CONDITIONAL, "guidance=edit")
    with pytest.raises(ConfigError, match=r"guidance.labels, the class to arrive at"):
        controlled.wanted_labels(config, guide.task(config, process, train), train, classes, given)


@pytest.mark.slow
def test_an_edit_arrives_at_the_class_wanted(tmp_path):
    _, rows = control(
        tmp_path, *CONDITIONAL, "guidance=edit", "guidance.t0=1", "guidance.labels=(8,)", "sampler.steps=20"
    )
    np.testing.assert_allclose((rows["x"].mean((1, 2, 3)) + 0.5) / 8.5 - 1, 0.4, atol=0.25)


# mistakes


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    where = tmp_path_factory.mktemp("masks")
    Image.fromarray(np.zeros((5, 8), np.uint8)).save(where / "small.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(where / "black.png")
    return where


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["guidance=paint"], ["'paint'", "inpaint", "edit"]),
        (["guidance=inpaint", "guidance.mask={masks}/small.png"], ["8x5", "8x8", "not resized"]),
        (["guidance=inpaint", "guidance.mask={masks}/black.png"], ["black everywhere"]),
        (["guidance=inpaint", "guidance.mask=quarter"], ["'quarter'", "half", "centre"]),
        (["guidance=inpaint", "guidance.t0=0.5"], ["guidance.t0", "inpaint", "mask"]),
        (["guidance=inpaint", "guidance.target={masks}"], ["guidance.target", "inpaint", "mask"]),
        (["guidance=inpaint", "guidance.zeta=1"], ["guidance.zeta", "rounds"]),
        (["guidance=inpaint", "guidance.sigma_y=0.1"], ["replacement", "exact", "pigdm"]),
        (["guidance=inpaint", "guidance.method=magic"], ["'magic'", "ddrm"]),
        (["guidance=inpaint", "guidance.clip=true"], ["guidance.clip", "pigdm", "'replacement'"]),
        (["guidance=restore", "sampler.corrector=langevin"], ["'langevin'", "sampler.corrector=none", "pigdm"]),
        (["guidance=inpaint", "guidance.labels=(3,)"], ["guidance.labels", "model.conditional"]),
        (["guidance=inpaint", "guidance.measured=true"], ["guidance.measured", "guidance.input"]),
        (["guidance=inpaint", "guidance.input={masks}/absent"], ["guidance.input", "absent", "folder"]),
        (["guidance=inpaint", "guidance.input={empty}"], ["guidance.input", "no image"]),
        (["guidance=restore", "guidance.operator=sharpen"], ["'sharpen'", "superresolution", "blur"]),
        (["guidance=restore", "guidance.operator=superresolution:3"], ["superresolution:3", "8x8", "3x3"]),
        (["guidance=restore", "guidance.operator=mask"], ["guidance.mask", "both"]),
        (["guidance=restore", "guidance.operator=random:2"], ["random:2", "between 0 and 1"]),
        (["guidance=restore", "guidance.operator=grey"], ["colour"]),
        (["guidance=restore", "guidance.method=replacement"], ["replacement", "pixels", "pigdm"]),
        (["guidance=edit", "guidance.t0=1.5"], ["guidance.t0 = 1.5", "1.0"]),
        (["guidance=translate"], ["guidance.classifier", "workdir"]),
        (["data.name=moons", "guidance=inpaint"], ["vectors", "moons"]),
    ],
)
def test_a_task_that_cannot_be_done_is_refused_at_once(tmp_path, masks, overrides, words):
    overrides = [text.format(masks=masks, empty=tmp_path) for text in overrides]
    with pytest.raises(ConfigError) as refused:
        controlled.control(config_of(*overrides), tmp_path / "run")
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["guidance=classifier_free"], ["model.conditional"]),
        (["model.conditional=true", "guidance=classifier_free", "guidance.scale=2"], ["label_dropout"]),
        ([*CONDITIONAL, "guidance=classifier_free", "guidance.labels=(11,)"], ["(11,)", "0 to 9"]),
        ([*CONDITIONAL, "guidance=classifier_free", "guidance.interval=(2,1)"], ["(2, 1)", "low"]),
        ([*CONDITIONAL, "guidance=classifier_free", "guidance.classifier=x"], ["guidance.classifier", "labels"]),
        (["guidance=classifier"], ["guidance.classifier", "workdir"]),
        (["guidance=inpaint"], ["--mode=sample"]),
        (["guidance=nothing"], ["'nothing'", "classifier_free", "inpaint"]),
    ],
)
def test_class_guidance_that_cannot_be_done_is_refused_at_once(train, overrides, words):
    config = config_of(*overrides)
    with pytest.raises(ConfigError) as refused:
        guide.classes(config, build.sde(config), train)
    assert all(word in str(refused.value) for word in words), refused.value


def test_posterior_means_are_clipped_to_the_range_of_the_images_unless_told_otherwise(train):
    def bounds(*overrides):
        config = config_of("guidance=restore", "guidance.method=pigdm", *overrides)
        return guide.task(config, build.sde(config), train).bounds

    assert (bounds(), bounds("data.centered=false")) == ((-1.0, 1.0), (0.0, 1.0))
    assert bounds("guidance.clip=false") is None


def test_an_operator_that_breaks_its_laws_is_refused(monkeypatch, train):
    monkeypatch.setattr(AveragePool, "adjoint", AveragePool.pinv)
    config = config_of("guidance=restore", "guidance.operator=superresolution:4")
    with pytest.raises(ConfigError, match=r"superresolution:4.*adjoint"):
        guide.task(config, build.sde(config), train)


# settings


def test_results_of_other_settings_have_other_names():
    told = ("guidance=restore", "guidance.operator=blur:1.5", "guidance.method=pigdm", "guidance.sigma_y=0.05")
    assert guide.title(config_of(*told)) == "restore-blur-1.5-pigdm-sigma_y-0.05"
    given = ("guidance=edit", "guidance.input=some/where/drawings", "guidance.labels=(8,)", "guidance.mask=in/M.png")
    assert guide.title(config_of(*given)) == "edit-M.png-labels-8-input-drawings"
    assert guide.suffix(config_of(*told)) != guide.suffix(config_of(*told, "guidance.sigma_y=0.1"))
    assert guide.suffix(config_of()) == ""


def test_a_section_with_a_name_is_set_by_its_name_alone():
    config = override(config_of(), ["guidance=inpaint", "sde=ve"])
    assert config.guidance.name == "inpaint" and config.sde.name == "ve"
    assert settings.full_key("seed") == "seed"


def test_tasks_are_known_by_name_where_they_are_not_imported():
    assert tuple(guide.TASKS) == by_class.TASKS


def test_guidance_may_change_between_two_starts_of_a_run():
    before, after = to_dict(config_of()), to_dict(config_of("guidance=inpaint", "guidance.mask=centre"))
    assert not workdir.differences(before, after)
