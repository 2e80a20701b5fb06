"""Does a stronger guidance give clearer classes, and what does it cost in variety? A table over the scale.

    python benchmarks/class_guidance.py --workdir=RUN --scales 0 1 2 4 8 [--classifier=CLASSIFIER] \
        [--config.data.data_dir=DIR]

For runs on MNIST, whose classes are recognized by a classifier of clean images that had no part in the guidance.
Accuracy: share of the samples that it sees in the class they were asked for. Variety: variance of its features within a
class, mean over the classes, as a share of that of as many test images. A picture shows a row for each scale.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from scorejax import metrics, pictures
from scorejax.experiment import assemble, config, workdir
from scorejax.experiment.evaluation import draw, evaluate, variances
from scorejax.experiment.trained import restore


def variety(features: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes of the summed variance of the features."""
    return float(np.mean([features[labels == k].var(axis=0, ddof=1).sum() for k in np.unique(labels)]))


def features_of(network: metrics.FeatureNetwork, images: np.ndarray) -> np.ndarray:
    """All features of all images."""
    return np.concatenate([features for _, _, features in metrics.extract(network, images)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--classifier", help="workdir of a classifier of noisy data; without it: classifier-free")
    parser.add_argument("--scales", type=float, nargs="+", default=[0, 1, 2, 4, 8])
    args, rest = parser.parse_known_args()
    base = workdir.saved_config(args.workdir)
    given = ["guidance.name=classifier_free"]
    if args.classifier:
        given = ["guidance.name=classifier", f"guidance.classifier={args.classifier}"]
    config.override(base, [*given, *(text.removeprefix("--config.") for text in rest)])
    train, test = assemble.dataset(base), assemble.dataset(base, "test")
    network = metrics.feature_network("mnist_classifier")
    assert isinstance(network, metrics.Classifier)
    trained = restore(base, args.workdir)

    count = base.eval.samples
    wanted = np.arange(count) % train.num_classes
    assert test.labels is not None
    rows = np.concatenate([np.flatnonzero(test.labels == k)[: np.sum(wanted == k)] for k in np.unique(wanted)])
    real = variety(features_of(network, test.examples[rows]), test.labels[rows])
    page = []
    print("| scale | accuracy | variety |\n|---|---|---|")
    for scale in args.scales:
        own = config.from_dict(config.to_dict(base))
        own.guidance.scale = scale
        model = variances.with_fitted(evaluate.steered(trained._replace(config=own)), args.workdir)
        x = draw.draw(model, args.workdir).x[:count]
        page.append(x[: train.num_classes])
        features = features_of(network, x)
        right = network.log_probabilities(features).argmax(axis=1) == wanted
        error = np.sqrt(right.mean() * (1 - right.mean()) / count)
        print(f"| {scale:g} | {right.mean():.3f} +- {error:.3f} | {variety(features, wanted) / real:.2f} |", flush=True)
    where = Path(args.workdir) / "samples" / f"{base.guidance.name}-scales.png"
    pictures.save_grid(where, np.concatenate(page), train.num_classes)
    print(where)


if __name__ == "__main__":
    main()
