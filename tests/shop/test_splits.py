"""What could not be measured after a training is refused before it, on every path that trains."""

import numpy as np
import pytest
from runs import toy

from scorejax.experiment.evaluation import bits, evaluate, quality, reference
from scorejax.experiment.training.train import train
from scorejax.runtime.errors import ConfigError

draw = np.random.default_rng(0).normal


def stored(folder, **arrays):
    np.savez(folder / "x.npz", **arrays)
    return f"data=npz:path={folder / 'x.npz'}"


def pairs():
    """Splits that one model cannot serve, and what the message says of both."""
    x = draw(size=(40, 4))
    shapes = "'train' are vectors of shape 4, those of split 'test' are vectors of shape 3"
    pixels = (x > 0).astype(np.uint8)[:, None]
    classes, vectors = np.arange(40) % 2, x[:, :2]
    both = {"train": x, "test": x[:9], "train_labels": vectors, "test_labels": vectors[:9, :1]}
    return [
        ({"train": x, "test": x[:, :3]}, shapes),
        ({"train": x, "test": pixels}, "vectors of shape 4, .* images of shape 1x4x1"),
        (both, "embeddings of shape 2, .* embeddings of shape 1"),
        ({**both, "test_labels": classes[:9]}, "'train_labels' holds embeddings, 'test_labels' holds classes"),
    ]


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize(("arrays", "words"), pairs())
def test_splits_of_two_kinds_are_refused_before_the_first_step(tmp_path, arrays, words, after):
    config = toy("Point", stored(tmp_path, **arrays), f"eval.after_training={str(after).lower()}")
    with pytest.raises(ConfigError, match=words):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["split", "reference_split"])
def test_a_split_that_is_not_there_matters_to_an_evaluation_alone(tmp_path, key):
    data = stored(tmp_path, x=draw(size=(40, 4)))
    with pytest.raises(ConfigError, match="no split 'val'; choose 'train' or 'test'"):
        train(toy("Point", data, f"eval.{key}=val", "eval.after_training=true"), tmp_path / "run")
    train(toy("Point", data, f"eval.{key}=val"), tmp_path / "run")


def test_a_rule_for_alpha_that_does_not_exist_is_refused_with_any_data(tmp_path):
    with pytest.raises(ConfigError, match=r"'data.alpha' takes one of white, black, gray, keep or none, got 'pink'"):
        train(toy("Point", "data.alpha=pink"), tmp_path / "run")


def test_too_few_real_examples_are_refused_before_the_training(tmp_path):
    config = toy("Point", stored(tmp_path, x=draw(size=(4, 3))), "data.test_fraction=0.5", "eval.after_training=true")
    with pytest.raises(ConfigError, match="split 'train' holds 2 examples; frechet and its floor need at least 4"):
        quality.judge(config, reference.examples(config))
    evaluate.check(config)  # of a recipe that draws no samples nothing is asked


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.c_[draw(size=(40, 2)), np.ones(40)], "column 2 is constant"),
        (draw(size=(3, 3)), "it needs more training examples than an example has numbers: 3 for 3"),
    ],
)
def test_a_baseline_that_cannot_be_had_says_why(x, reason):
    found = bits.gaussian_baseline(x.astype(np.float32), x.astype(np.float32))
    assert found["gaussian_baseline"] is None and reason in found["gaussian_baseline_reason"]
    numbers = {
        **found,
        "levels": None,
        "bits_per_dim": 1.0,
        "nats_per_dim": -0.693,
        "standard_error": 0.1,
        "uniform_baseline": None,
        "failed": 0,
        "mixture_baseline": None,
        "mixture_baseline_reason": "too few",
    }
    lines = bits.EVALUATION.lines(numbers)
    assert any("Gaussian baseline   none: " in line for line in lines)
    assert "  mixture baseline    none: too few" in lines
