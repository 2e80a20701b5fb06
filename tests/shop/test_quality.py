"""The measuring of samples: the right numbers under the right names, and mistakes that show before any work."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from strokes import Strokes

from scorejax import data, metrics
from scorejax.experiment import assemble
from scorejax.experiment.config import load
from scorejax.experiment.evaluation import evaluate, quality, report
from scorejax.experiment.evaluation.draw import Samples
from scorejax.runtime.errors import ConfigError


def config(*overrides):
    settings = ["eval.features=strokes:Strokes", "eval.batch=64", "eval.reference_examples=0"]  # 0: all
    return load("vp_digits:tiny", [*settings, *overrides])


@pytest.fixture(scope="module")
def train():
    return assemble.dataset(config())


@pytest.fixture
def samples(tmp_path):
    """The test digits, as if they had been drawn."""
    return Samples(data.load("digits", "test").examples, 5, tmp_path / "samples" / "step-0-x")


def scipy_distance(x, y):
    """Frechet distance of two sets of features, the way published code computes it."""
    covariances = [np.cov(each.astype(float), rowvar=False) for each in (x, y)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    gap = x.mean(0, dtype=float) - y.mean(0, dtype=float)
    return gap @ gap + np.trace(covariances[0] + covariances[1] - 2 * root)


def features(examples):
    return np.asarray(Strokes()(jnp.asarray(data.to_bytes(examples, 17))))


def test_statistics_from_a_file_give_the_number_of_those_computed_and_of_scipy(train, samples, tmp_path, capsys):
    asked = config("eval.samples=200")
    computed = quality.measure(quality.judge(asked, train), train, samples, tmp_path)
    where = evaluate.statistics(asked, tmp_path)
    assert where == tmp_path / "eval" / "stats-digits-train-strokes-v1.npz" and str(where) in capsys.readouterr().out
    from_file = quality.measure(
        quality.judge(config("eval.samples=200", f"eval.stats={where}"), train), train, samples, tmp_path
    )
    expected = scipy_distance(features(train.examples), features(samples.x[:200]))
    for result in (computed, from_file):
        assert result["frechet_distance"] == pytest.approx(expected, rel=1e-4)
        assert result["n"] == 200 and result["statistics"]["n"] == len(train) == 1500
        assert result["statistics"]["split"] == "train" and len(result["statistics"]["sha256"]) == 64
    assert from_file["statistics"]["from"] == str(where)
    # these samples are real digits, so theirs is one more distance of 200 real digits to the others
    assert 1 / 3 < computed["frechet_floor"] / computed["frechet_distance"] < 3 and computed["frechet_floor_n"] == 200
    assert [p.name for p in (tmp_path / "eval").iterdir()] == [where.name]


def test_a_cut_off_extraction_of_features_goes_on_where_it_stopped(train, samples, tmp_path):
    asked = config("eval.samples=200")
    judge = quality.judge(asked, train)
    whole = quality.measure(judge, train, samples, tmp_path)
    Strokes.seen, Strokes.limit = 0, 800
    with pytest.raises(KeyboardInterrupt):
        quality.measure(judge, train, samples, tmp_path)
    Strokes.limit = math.inf
    again = quality.measure(judge, train, samples, tmp_path)
    assert again == whole
    assert Strokes.seen == 256 + 1536  # 200 and 1,500 in batches of 64: none twice


def test_everything_that_is_asked_for_is_reported_with_what_it_was_measured_on(train, samples, tmp_path):
    asked = config("eval.samples=200", "eval.metrics=frechet,kid,inception_score,precision_recall")
    result = quality.measure(quality.judge(asked, train), train, samples, tmp_path)
    real, drawn = features(train.examples), features(samples.x[:200])
    kernel = metrics.kernel_distance(real, drawn, seed=asked.eval.seed)
    assert result["kernel_distance"] == pytest.approx(kernel.value) and result["kernel_distance_error"] is None
    score = metrics.class_score(np.split(Strokes().log_probabilities(drawn), 10))
    assert (result["class_score"], result["class_score_std"]) == pytest.approx((score.mean, score.std))
    assert result["precision_recall_n"] == 200 and 0.5 < result["precision"] <= 1 and 0.2 < result["recall"] <= 1
    text = summary(result)
    for words in ("Frechet distance", "kernel distance", "class score", "precision, recall", "strokes-v1"):
        assert words in text
    assert "note: Frechet distance of n < 10,000: biased upwards; compare only at the same n" in text
    assert not any(word in text for word in ("FID", "KID", "Inception"))


def summary(found):
    """What a person reads of a report with these samples, once it was in a file."""
    written = json.loads(json.dumps({"step": 1, "split": "test", "data": "x", "samples": {**found, "nfe": 5}}))
    return report.summary(written, evaluate.EVALUATIONS)


def test_features_of_inception_have_the_published_names_and_say_whose_weights_they_are(train, samples, tmp_path):
    asked = config("eval.features=strokes:Named", "eval.samples=200", "eval.metrics=frechet,kid,inception_score")
    result = quality.measure(quality.judge(asked, train), train, samples, tmp_path)
    text = summary(result)
    for words in ("  FID ", "  KID ", "  Inception Score ", "FID of n < 10,000", "not the published ones"):
        assert words in text
    assert "Frechet distance" not in text


def test_published_statistics_are_taken_for_inception_alone(train, samples, tmp_path):
    real = features(train.examples)
    np.savez(tmp_path / "ttur.npz", mu=real.mean(0, dtype=float), sigma=np.cov(real.astype(float), rowvar=False))
    stats = f"eval.stats={tmp_path / 'ttur.npz'}"
    with pytest.raises(ConfigError, match="a feature network that it does not name"):
        quality.judge(config(stats), train)
    asked = config(stats, "eval.features=strokes:Named", "eval.samples=200")
    result = quality.measure(quality.judge(asked, train), train, samples, tmp_path)
    assert result["frechet_distance"] == pytest.approx(scipy_distance(real, features(samples.x[:200])), rel=1e-4)
    assert result["statistics"]["n"] is None and "frechet_floor" not in result
    assert any("does not say which network" in note for note in result["notes"])


def test_another_metric_is_measured_and_reported_like_any_other(train, samples, tmp_path):
    judge = quality.judge(config("eval.samples=200", "eval.metrics=strokes:Spread"), train)
    Strokes.seen = 0
    result = quality.measure(judge, train, samples, tmp_path)
    assert Strokes.seen == 256, "features of real examples, that nobody asked for, are not computed"
    spread = features(samples.x[:200]).std()
    assert result["spread"] == pytest.approx(spread, rel=1e-4) and "real" not in result
    lines = summary(result).splitlines()[-2:]
    first = f"  spread              {spread:.3f}   (200 samples, 5 evaluations, features strokes-v1)"
    assert lines == [first, "  note: of no use"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["eval.metrics=fid"], r"'fid'.*frechet, kid, inception_score, precision_recall"),
        (["eval.features=pixels", "eval.metrics=inception_score"], "'pixels' has no classes.*mnist_classifier"),
        (["eval.features=vgg"], "unknown feature network 'vgg'.*random_conv"),
        (["eval.features=mnist_classifier"], r"\(28, 28, 1\).*\(8, 8, 1\)"),
        (["eval.features.weights=w.pth"], "eval.features.weights.*does not belong.*Strokes"),
        (["eval.stats=absent.npz"], "eval.stats.*absent.npz"),
        (["eval.stats={other}"], "statistics of 'pixels'.*strokes-v1"),
        (["eval.stats={published}", "eval.features=strokes:Named"], "of 'inception.*6726825d'.*0123abcd"),
        (["eval.stats={short}", "eval.features=strokes:Named"], "5 features.* has 16"),
        (["eval.samples=1"], "at least 2"),
        (["eval.samples=3", "eval.metrics=precision_recall"], "at least 4"),
        (["eval.reference_examples=3"], "at least 4"),
    ],
)
def test_a_mistake_shows_before_the_training_that_an_evaluation_follows(train, tmp_path, overrides, words):
    files = {name: tmp_path / f"{name}.npz" for name in ("other", "published", "short")}
    metrics.Statistics(np.zeros(64), np.eye(64), 9, "pixels").save(files["other"])
    metrics.Statistics(np.zeros(16), np.eye(16), 9, metrics.PUBLISHED_INCEPTION).save(files["published"])
    metrics.Statistics(np.zeros(5), np.eye(5), None, None).save(files["short"])
    with pytest.raises(ConfigError, match=words):
        evaluate.check(config(*(text.format(**files) for text in overrides)))


def test_names_of_metrics_come_from_the_command_line_in_any_dress():
    for text in ("frechet,kid", "('frechet', 'kid')", "frechet, kid,"):
        assert config(f"eval.metrics={text}").eval.metrics == ("frechet", "kid")
