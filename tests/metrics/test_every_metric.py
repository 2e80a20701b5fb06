"""The contract of a metric, for every entry of the table: what it needs suffices, and what it finds can be reported."""

import json

import numpy as np
import pytest

from scorejax import metrics


class Classes:
    """A feature network whose four features are the logits of its classes."""

    name = "classes-v1"

    def __call__(self, images):
        return images

    def log_probabilities(self, features):
        return features - np.log(np.exp(features).sum(axis=1, keepdims=True))


def drawn(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 4))


def reference(metric, features):
    """No more than the metric asks for."""
    if metric.reads == "examples":
        return metrics.Reference(features[:, :1], examples=features[:, :, None])
    if metric.needs_held_out:
        return metrics.Reference(features, held_out=drawn(metric.least, 2))
    if metric.needs_real == "nothing":
        return metrics.Reference()
    if metric.needs_real == "moments":
        return metrics.Reference(statistics=metrics.Statistics.of(metrics.Moments.of(features, Classes.name)), file="f")
    return metrics.Reference(features)


def measured(metric, real, samples, **settings):
    """The metric of samples as it reads them."""
    shown = samples[:, :, None] if metric.reads == "examples" else samples
    return metric.measure(real, shown, Classes(), **settings)


def everything(features):
    """All that a metric can ask for."""
    return metrics.Reference(features, held_out=drawn(20, 2), examples=features[:, :, None])


EVERY = pytest.mark.parametrize("name", metrics.METRICS)


@EVERY
def test_what_a_metric_says_it_needs_suffices(name):
    metric = metrics.metric(name)
    assert metric.needs_real in ("features", "moments", "nothing")
    found = measured(metric, reference(metric, drawn(2 * metric.least)), drawn(metric.least, 1), seed=3)
    notes = found.pop("notes", [])
    assert found and all(isinstance(note, str) for note in notes)
    again = measured(metric, reference(metric, drawn(2 * metric.least)), drawn(metric.least, 1), seed=3)
    assert {**again, "notes": notes} == {**found, "notes": notes}


@EVERY
def test_what_a_metric_finds_is_reported_after_it_was_in_a_file(name):
    metric = metrics.metric(name)
    found = measured(metric, everything(drawn(50)), drawn(30, 1))
    lines = metric.lines(json.loads(json.dumps({**found, "features": Classes.name})))
    assert lines and all(label and value for label, value in lines)
    # a reader takes no number over other features for a published one
    assert not any(word in label for label, _ in lines for word in ("FID", "KID", "Inception"))


def test_metrics_do_not_overwrite_each_other():
    keys = [
        set(measured(metrics.metric(name), everything(drawn(50)), drawn(30, 1))) - {"notes"} for name in metrics.METRICS
    ]
    assert sum(map(len, keys)) == len(set().union(*keys))


@EVERY
def test_a_metric_that_lacks_what_it_needs_says_so(name):
    metric = metrics.metric(name)
    if metric.needs_real != "nothing":
        with pytest.raises(ValueError, match=r"needs the (features of )?real examples"):
            measured(metric, metrics.Reference(), drawn(30))
    if metric.needs_held_out:
        with pytest.raises(ValueError, match="needs the features of examples held out"):
            measured(metric, metrics.Reference(drawn(50)), drawn(30))
    if metric.reads == "examples":
        with pytest.raises(ValueError, match=r"got examples of shape \[4\]: leave it out of eval.metrics"):
            metric.check((4,))
    if metric.needs_classes:
        with pytest.raises(ValueError, match="'pixels' has none"):
            metric.measure(metrics.Reference(drawn(50)), drawn(30), metrics.feature_network("pixels"))


def test_settings_are_those_of_the_constructor():
    real, samples = metrics.Reference(drawn(60)), drawn(30, 1)
    assert metrics.metric("kid", block=10).measure(real, samples, Classes())["kernel_distance_blocks"] == 3
    assert metrics.metric("inception_score", splits=5).measure(real, samples, Classes())["class_score_splits"] == 5
    near, far = (metrics.metric("precision_recall", neighbors=k) for k in (1, 10))
    assert near.least == 2 and far.least == 11
    assert near.measure(real, samples, Classes())["recall"] < far.measure(real, samples, Classes())["recall"]
    with pytest.raises(ValueError, match="choose among frechet, kid, inception_score, precision_recall"):
        metrics.metric("fid")


def test_networks_with_classes_are_found_without_making_one():
    assert metrics.networks_with_classes() == ["inception", "mnist_classifier"]
