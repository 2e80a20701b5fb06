import numpy as np
import pytest

from scorejax.metrics import class_score


def one_hot(classes, count):
    with np.errstate(divide="ignore"):
        return np.log(np.eye(count)[classes])


def test_certain_and_evenly_spread_classes_score_their_number():
    for count in (2, 10):
        score = class_score([one_hot(np.arange(60) % count, count)] * 3)
        assert score.mean == pytest.approx(count, rel=1e-12) and score.std < 1e-12 and score.splits == 3


def test_one_class_or_no_idea_of_the_class_scores_one():
    assert class_score([one_hot(np.zeros(9, int), 5)]).mean == pytest.approx(1)
    assert class_score([np.full((9, 5), -np.log(5))]).mean == pytest.approx(1)


def test_a_noisy_channel_scores_its_mutual_information():
    """The classifier errs with probability e between two classes: `exp(log 2 - H(e))`."""
    e = 0.1
    rows = np.log(np.array([[1 - e, e], [e, 1 - e]] * 50))
    entropy = -e * np.log(e) - (1 - e) * np.log(1 - e)
    assert class_score([rows]).mean == pytest.approx(np.exp(np.log(2) - entropy), rel=1e-12)
    # half of the samples tell nothing: half of the information
    half = np.concatenate([rows, np.full_like(rows, -np.log(2))])
    assert class_score([half]).mean == pytest.approx(np.exp((np.log(2) - entropy) / 2), rel=1e-12)


def test_mean_and_deviation_are_over_the_splits():
    score = class_score([one_hot(np.arange(4) % 4, 4), one_hot(np.arange(4) % 2, 4)])
    assert score.mean == pytest.approx(3) and score.std == pytest.approx(1)


def test_empty_splits_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        class_score([])
    with pytest.raises(ValueError, match="non-empty"):
        class_score([np.zeros((0, 3))])
