"""Mixtures given a noisy linear measurement: they stay mixtures, so every conditional score is known exactly."""

import numpy as np

import scorejax as sj


def parts(law):
    """Weights, means and covariances of a mixture, in float64."""
    axes, variances = np.asarray(law.axes, np.float64), np.asarray(law.variances, np.float64)
    covariances = np.einsum("kij,kj,klj->kil", axes, variances, axes)
    return np.exp(np.asarray(law.log_weights, np.float64)), np.asarray(law.means, np.float64), covariances


def given(law, matrix, y, sigma_y):
    """The law of x given `y = A x + sigma_y n`."""
    matrix, y = np.asarray(matrix, np.float64), np.asarray(y, np.float64)
    weights, means, covariances = [], [], []
    for weight, mean, covariance in zip(*parts(law), strict=True):
        total = matrix @ covariance @ matrix.T + sigma_y**2 * np.eye(len(y))
        gain, offset = covariance @ matrix.T @ np.linalg.inv(total), y - matrix @ mean
        density = np.exp(-0.5 * offset @ np.linalg.solve(total, offset)) / np.sqrt(np.linalg.det(total))
        weights.append(weight * density)
        means.append(mean + gain @ offset)
        after = covariance - gain @ matrix @ covariance
        covariances.append(0.5 * (after + after.T))
    return sj.analytic.mixture(np.array(weights) / np.sum(weights), means, covariances=covariances)


def component(law, k):
    """The law of x given that it comes from component `k`."""
    _, means, covariances = parts(law)
    return sj.analytic.gaussian(means[k], covariances[k])
