"""A trained run as an object, what it remembers of its data, and the units in which it speaks."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_recipes import VARIANCE, class_mean
from guided import config_of as config_of_images
from runs import ROOT, out_of_a_hat, small, store, toy
from test_every_recipe import ROWS

import scorejax as sj
from scorejax import data
from scorejax.experiment import assemble, workdir
from scorejax.experiment import config as configs
from scorejax.experiment import recipe as recipes
from scorejax.experiment import record as record_lib
from scorejax.experiment.evaluation import bits, evaluate
from scorejax.experiment.evaluation.subject import Subject
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.recipes import BESIDE
from scorejax.experiment.record import Record
from scorejax.experiment.training.prior import mismatch
from scorejax.experiment.training.train import train
from scorejax.runtime.errors import CheckpointError, ConfigError, RunError

HAT = np.random.default_rng(0)
POINTS = HAT.normal([0.5, -1.0], [1.0, 0.5], (400, 2)).astype(np.float32)
FLOW = ("recipe=flow", "model=coupling_flow:features=8:couplings=2:depth=1")
STRETCH, MOVE = np.array([8.0, 0.25], np.float32), np.array([1000.0, -3.0], np.float32)


def made(folder, config):
    """The folder of a run with weights out of a hat, as training leaves it."""
    recipe = make_recipe(config)
    workdir.claim(folder, config)
    record_lib.write(folder, recipe.given.record)
    store(out_of_a_hat(recipe.shapes()), folder)
    return folder


def of_points(folder, x, *overrides):
    """A run on these points; the file is deleted."""
    folder.mkdir(exist_ok=True)
    file = folder / "x.npz"
    np.savez(file, x=x)
    run = made(folder / "run", small(f"data=npz:path={file}", "eval.divergence=exact", "sampler.steps=2", *overrides))
    file.unlink()
    return run


def of_images(folder, *overrides):
    """A run of images whose score is exact."""
    return made(folder, config_of_images("recipe.conditional=true", "init_from=none", "eval.batch=8", *overrides))


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    return sj.load(of_points(tmp_path_factory.mktemp("points"), POINTS))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return sj.load(of_images(tmp_path_factory.mktemp("images"), "recipe.label_dropout=0.1", "eval.likelihood_passes=2"))


# ---- Units ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["score", "flow"])
def test_an_affine_change_of_the_data_changes_log_densities_by_minus_the_log_of_its_scales(kind, vectors, tmp_path):
    own = () if kind == "score" else FLOW
    run = vectors if kind == "score" else sj.load(of_points(tmp_path / "a", POINTS, *own))
    other = sj.load(of_points(tmp_path / "b", POINTS * STRETCH + MOVE, *own))
    x = POINTS[:5]
    before, after = run.log_prob(x), other.log_prob(x * STRETCH + MOVE)
    np.testing.assert_allclose(after.value - before.value, -np.log(STRETCH).sum(), atol=2e-3)
    np.testing.assert_allclose(before.bits_per_dim, -before.value / (2 * np.log(2)), rtol=1e-6)


def test_an_affine_change_of_the_data_is_one_of_the_samples(tmp_path):
    run, other = (
        sj.load(of_points(tmp_path / n, x, *FLOW)) for n, x in (("a", POINTS), ("b", POINTS * STRETCH + MOVE))
    )
    np.testing.assert_allclose(other.sample(3, seed=5), run.sample(3, seed=5) * STRETCH + MOVE, rtol=2e-3, atol=2e-3)


@pytest.fixture(scope="module")
def measured(images):
    """Six test images, their classes, and their log-likelihoods."""
    test = data.load("digits", "test")
    x, labels = test.examples[:6], test.labels[:6]
    return x, labels, images.log_prob(x, seed=images.config.eval.seed, condition=labels)


@pytest.mark.slow
def test_log_densities_of_a_run_are_those_of_its_evaluation(images, measured, tmp_path):
    x, labels, found = measured
    split = data.Dataset("x", x, labels, gray_levels=17, num_classes=10)
    whole = bits.bits_per_dim(Subject(images._trained), split, split, tmp_path, None)
    assert whole["bits_per_dim"] == pytest.approx(float(found.bits_per_dim.mean()), rel=1e-5)


@pytest.mark.slow
def test_the_log_probability_of_gray_levels_is_the_closed_form(measured):
    """Of pixels N((k - 4) / 10, 1/4) for class k: the mean over the noise within gray levels."""
    x, labels, found = measured
    squares = ((x + 0.5) * 2 / 17 - 1 - np.asarray(class_mean(labels))) ** 2 + (2 / 17) ** 2 / 12
    nats = -0.5 * np.log(2 * np.pi * VARIANCE) - squares / (2 * VARIANCE) + np.log(2 / 17)
    assert bool(found.ok.all()) and np.all(np.asarray(found.stderr) > 0)
    np.testing.assert_allclose(found.value, nats.sum((1, 2, 3)), atol=6 * np.max(found.stderr) + 0.5)


@pytest.mark.slow
def test_decoding_inverts_encoding(images):
    x = data.load("digits").examples[:3]
    np.testing.assert_array_equal(images.decode(images.encode(x, condition=3), condition=3), x)


def test_samples_are_those_of_the_command_line_and_need_no_data(vectors):
    config = configs.override(configs.copy(vectors.config), ["eval.samples=4", "eval.grid=4", "eval.seed=5"])
    np.testing.assert_allclose(evaluate.sample(config, vectors.workdir), vectors.sample(4, seed=5), atol=1e-5)
    assert (vectors.workdir / "samples" / "step-1-seed-5.png").is_file()


@pytest.mark.slow
def test_the_gradient_of_a_log_density_is_its_slope(vectors):
    x, h = jnp.asarray(POINTS[:5]), 0.02
    gradient = jax.grad(lambda x: vectors.log_prob(x).value.sum())(x)
    along = jnp.array([0.6, -0.8])
    ahead, behind = (vectors.log_prob(x + step * along).value for step in (h, -h))
    np.testing.assert_allclose(gradient @ along, (ahead - behind) / (2 * h), atol=0.02)


# ---- Conditions and guidance ----------------------------------------------------------------------------------------


def test_a_class_is_named_or_numbered_and_several_are_taken_in_turn(images):
    assert images.class_names == tuple("0123456789")
    by_name = images.sample(4, condition=["8", "8"])
    np.testing.assert_array_equal(by_name, images.sample(4, condition=[8, 8]))
    both = images.sample(4, condition=["3", "8"])
    np.testing.assert_array_equal(both[1::2], by_name[1::2])
    assert not np.array_equal(both[::2], by_name[::2])


@pytest.mark.slow
def test_guidance_is_that_of_the_shell_or_a_function_of_the_score(images):
    plain = images.sample(4, condition=[8, 8])
    strong = images.sample(4, condition=[8, 8], guidance="classifier_free:scale=8")
    assert strong.mean() > plain.mean() + 1  # class 8 is the brighter side of no class
    dark = images.sample(4, condition=[8, 8], guidance=lambda score: lambda x, t: score(x, t) - 20.0)
    assert dark.mean() < plain.mean() - 1


def test_embeddings_are_drawn_for_without_the_data(tmp_path):
    file = tmp_path / "x.npz"
    np.savez(file, x=POINTS, labels=HAT.normal(size=(len(POINTS), 3)).astype(np.float32))
    run = sj.load(made(tmp_path / "run", small(f"data=npz:path={file}", "recipe.conditional=true", "sampler.steps=2")))
    file.unlink()
    assert run.sample(3, condition=[0.1, 0.2, 0.3]).shape == (3, 2)
    with pytest.raises(ValueError, match=r"wanted an embedding of shape \(3,\)"):
        run.sample(3, condition=[0.1])
    with pytest.raises(ValueError, match="takes a condition: give condition="):
        run.log_prob(POINTS)


@pytest.mark.slow
def test_the_script_of_the_readme_runs(images, tmp_path, monkeypatch):
    page = (ROOT / "README.md").read_text()
    (script,) = [
        block for block in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if "sj.load(" in block
    ]
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "edm_digits").symlink_to(images.workdir)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(script, names)
    assert names["x"].shape == names["fast"].shape == (16, 8, 8, 1) and names["x"].dtype == np.uint8
    assert bool(names["found"].ok.all()) and names["slope"].shape == names["score"].shape == (4, 8, 8, 1)


# ---- What is refused ------------------------------------------------------------------------------------------------

DIGITS = np.zeros((2, 8, 8, 1), np.uint8)
REFUSED = {
    "no samples": (lambda v, i: v.sample(0), "n = 0 samples"),
    "one example": (lambda v, i: v.log_prob(POINTS[0]), r"\[B, 2\], at least one; give one example as x\[None\]"),
    "no example": (lambda v, i: v.log_prob(POINTS[:0]), r"shape \(0, 2\)"),
    "another shape": (lambda v, i: i.encode(np.zeros((2, 8, 8), np.uint8)), r"\[B, 8, 8, 1\]"),
    "not a number": (lambda v, i: v.log_prob([[0.0, 1.0], [np.nan, 1.0]]), r"x must be finite, got nan at \[1, 0\]"),
    "text": (lambda v, i: v.log_prob(np.array([["a", "b"]])), "real numbers are needed"),
    "floats for levels": (lambda v, i: i.log_prob(DIGITS / 16), "float64; this model is of images of 17 gray levels"),
    "a level too high": (lambda v, i: i.log_prob(DIGITS + 17, condition=1), "from 17 to 17; this model knows 0..16"),
    "levels for floats": (lambda v, i: i.score(DIGITS, 0.5), "points of model space are floats"),
    "no condition": (lambda v, i: v.sample(1, condition=0), "has no classes"),
    "no condition of a score": (lambda v, i: v.score(POINTS, 0.5, 1), "takes no condition"),
    "a class too high": (lambda v, i: i.sample(1, condition=10), "numbers 0 to 9, or their names"),
    "a class by half": (lambda v, i: i.sample(1, condition=1.5), "numbers 0 to 9, or their names"),
    "no such class": (lambda v, i: i.sample(1, condition="ten"), "no class is called 'ten'; choose one of 0, 1"),
    "too few conditions": (lambda v, i: i.log_prob(DIGITS[[0] * 3], condition=[1, 2]), "2 conditions for 3 examples"),
    "no such stepper": (
        lambda v, i: v.sample(1, stepper="foo"),
        "stepper has 'foo': config key 'sampler.stepper': unknown stepper 'foo'",
    ),
    "guidance of images": (lambda v, i: i.sample(1, guidance="restore"), "is of given images"),
    "no logits": (lambda v, i: v.logits(POINTS), "logits needs logits; recipe 'score' makes a model with score"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_run_cannot_do_is_refused_in_one_line(case, vectors, images):
    call, words = REFUSED[case]
    with pytest.raises(ValueError, match=words) as refusal:
        call(vectors, images)
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_a_model_offers_what_its_kind_of_training_gives(tmp_path):
    energy = sj.load(made(tmp_path / "energy", configs.load("energy:tiny")))
    assert energy.sample(2).shape == (2, 2) and energy.score(np.zeros((2, 2), np.float32)).shape == (2, 2)
    with pytest.raises(
        ValueError, match=r"encode needs score that is a function of point and time; .* model with score of one"
    ):
        energy.encode(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="the density of an energy needs its partition function"):
        energy.log_prob(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="draws samples in its own way and takes no condition"):
        energy.sample(1, condition=1)
    assert energy.sample(2, stepper="mala:step_size=0.01", steps=3).shape == (2, 2)
    with pytest.raises(ValueError, match=r"'ancestral' carries noise to data, .* one that stays at a level: ula"):
        energy.sample(1, stepper="ancestral")


def test_a_folder_without_a_run_says_what_is_missing(tmp_path):
    for prepare, words in (
        (lambda: None, "there is no folder"),
        (lambda: (tmp_path / "run").mkdir(), "no config.json"),
        (lambda: workdir.claim(tmp_path / "run", small()), "no checkpoints in"),
        (
            lambda: (tmp_path / "run/config.json").write_text('{"sampler": {"predictor": "em"}}'),
            "is now sampler.stepper",
        ),
    ):
        prepare()
        with pytest.raises(RunError, match=words) as refusal:
            sj.load(tmp_path / "run")
        assert isinstance(refusal.value, ConfigError | CheckpointError) and "\n" not in str(refusal.value)


# ---- What a run remembers of its data -------------------------------------------------------------------------------


def test_a_record_comes_back_from_its_file(tmp_path):
    for dataset in (
        data.load("moons"),
        data.load("digits"),
        data.Dataset("e", POINTS, np.zeros((400, 2, 3), np.float32)),
    ):
        record = Record.of(dataset, "standard")
        record_lib.write(tmp_path, record)
        assert record_lib.read(tmp_path) == record
    (tmp_path / "data.json").write_text(json.dumps(record.to_dict() | {"shift": [1.0], "scale": [0.0]}))
    with pytest.raises(RunError, match=r"data.json is damaged: shift and scale .*put it back from a copy"):
        record_lib.read(tmp_path)


def points_in(folder, x, *overrides):
    folder.mkdir(exist_ok=True)
    np.savez(folder / "x.npz", train=x, test=x[:20])
    return toy("Point", f"data=npz:path={folder / 'x.npz'}", *overrides)


def test_a_run_goes_on_with_its_own_data_alone_wherever_they_lie(tmp_path):
    here, run = points_in(tmp_path / "here", POINTS, "train.steps=4"), tmp_path / "run"
    train(here, run)
    record = json.loads((run / "data.json").read_text())
    assert record["counts"] == {"train": 400, "test": 20} and record["shape"] == [2]
    np.testing.assert_allclose(record["map"]["scale"], POINTS.std(0, np.float64), rtol=1e-6)
    for name, x, words in (
        ("changed", POINTS + np.eye(400, 2, dtype=np.float32), "records fingerprint .* now gives fingerprint"),
        ("fewer", POINTS[:300], "records examples 400, but section data now gives examples 300"),
    ):
        other = points_in(tmp_path / name, x)
        for go_on in (train, evaluate.evaluate):
            with pytest.raises(ConfigError, match=f"{words}.*give the old data .* or choose another --workdir"):
                go_on(other, run)
    assert train(points_in(tmp_path / "there", POINTS), run).step == 8
    assert json.loads((run / "data.json").read_text()) == record


def test_a_run_older_than_records_gets_one_and_its_vectors_stay_as_they_are(tmp_path):
    config = small(f"data={'gaussian'}")
    folder = made(tmp_path, config)
    (folder / "data.json").unlink()
    stored = json.loads((folder / "config.json").read_text())
    del stored["data"]["normalize"]
    (folder / "config.json").write_text(json.dumps(stored))
    assert sj.load(folder).space == data.Channels()
    assert record_lib.read(folder).map == data.ChannelMap()
    # what such a version wrote of vectors that it scaled is read, and taken as it was
    record = json.loads((folder / "data.json").read_text())
    old = {key: record[key] for key in record if key not in ("map", "levels", "dtype")}
    (folder / "data.json").write_text(json.dumps(old | {"shift": [0.0, 1.0, 2.0, 3.0], "scale": [1.0, 2.0, 1.0, 1.0]}))
    assert sj.load(folder).space == data.Vectors((0.0, 1.0, 2.0, 3.0), (1.0, 2.0, 1.0, 1.0))


def test_a_record_that_was_lost_is_made_again_of_the_data_with_a_warning(tmp_path, caplog):
    folder = made(tmp_path, small("data=gaussian"))
    record = record_lib.read(folder)
    (folder / "data.json").unlink()
    with caplog.at_level("WARNING", logger="absl"):
        assert sj.load(folder).space.map == record.map != data.ChannelMap()
    assert "data.json is missing" in caplog.text and record_lib.read(folder) == record


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_recipe_is_made_of_the_form_of_its_data_alone(name, monkeypatch):
    config = configs.load(ROWS[name])
    examples = assemble.dataset(config)
    whole = make_recipe(config, examples)
    record = Record.from_dict(json.loads(json.dumps(whole.given.record.to_dict())))
    monkeypatch.setattr(recipes, "dataset", lambda config: pytest.fail("the data were read"))
    alone = make_recipe(config, record=record)
    if name in BESIDE:
        own = configs.copy(config)
        own.recipe = {"name": name, **config[BESIDE[name].section].own()}
        whole, alone = (
            make_recipe(own, beside=recipes.Beside(each, out_of_a_hat(each.shapes()), 1)) for each in (whole, alone)
        )
    assert alone.shapes() == whole.shapes()
    ours, theirs = (each.model(each.shapes()) for each in (alone, whole))
    assert ours.can() == theirs.can() and ours.num_classes == theirs.num_classes
    assert alone.given.space == whole.given.space and alone.has_convolutions == whole.has_convolutions


def test_what_is_trained_next_to_a_model_sees_the_data_where_the_model_does():
    config = configs.load("vp_moons:tiny")
    model = make_recipe(config, record=Record.of(assemble.dataset(config), "none"))
    own = make_recipe(config, beside=recipes.Beside(model, None, 1))
    assert own.given.examples is model.given.examples
    assert own.given.space == data.Channels() != make_recipe(config).given.space


# ---- The prior ------------------------------------------------------------------------------------------------------


def test_the_mismatch_of_the_prior_is_the_divergence_of_gaussians():
    far = data.Dataset("far", HAT.normal([1000.0, 0.0], [5.0, 1.0], (2000, 2)).astype(np.float32))
    mean, variance = data.moments(far.examples)
    for sde in (sj.vp(), sj.ve(sigma_max=50.0)):
        t, noise = jnp.float32(sde.t_max), float(sde.variance(sde.t_max))
        q = float(sde.alpha(t)) * mean, float(sde.alpha(t)) ** 2 * variance + noise
        nats = 0.5 * np.sum(q[1] / noise - 1 - np.log(q[1] / noise) + q[0] ** 2 / noise)
        assert mismatch(sde, data.Vectors(), far) == pytest.approx(nats, rel=1e-3) and nats > 20
        assert mismatch(sde, data.standardizing(far.examples), far) < 1e-3
    assert mismatch(sj.vp(), data.GrayLevels(17), data.load("digits")) == 0.0


@pytest.mark.parametrize(("normalize", "warned"), [("none", True), ("standard", False)])
def test_vectors_far_from_the_prior_are_warned_of_at_the_start(normalize, warned, tmp_path, caplog):
    config = points_in(
        tmp_path, POINTS + 1000, "recipe=toy_recipes:Drawn", f"data.normalize={normalize}", "train.steps=4"
    )
    train(config, tmp_path / "run")
    assert ("set data.normalize=standard" in caplog.text) == warned
