"""Train a small classifier to be a feature network: python -m scorejax.metrics.train_classifier --help."""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scorejax import data
from scorejax.metrics.classifier import ConvClassifier, save


def train(
    examples: data.Dataset, *, epochs: int = 6, batch: int = 128, lr: float = 2e-3, seed: int = 0
) -> tuple[ConvClassifier, Any]:
    """Fit a classifier to images that are shifted at random.

    Args:
        examples: images with labels.
        epochs: passes through them.
        batch: images per step.
        lr: of Adam at the start; it falls to zero as a cosine.
        seed: of the weights, the order and the shifts.

    Returns:
        The network and its parameters, rounded to what `save` keeps of them.
    """
    if examples.gray_levels is None or examples.labels is None:
        raise ValueError(f"{examples.name}: a classifier wants images with labels; choose mnist, cifar10 or digits.")
    network = ConvClassifier(examples.num_classes)
    steps = epochs * (len(examples) // batch)
    optimizer = optax.adam(optax.cosine_decay_schedule(lr, steps))
    params = network.init(jax.random.key(seed), jnp.zeros((1, *examples.shape), jnp.uint8))["params"]
    state = optimizer.init(params)
    step = _make_step(network, optimizer)
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(examples)) for _ in range(epochs)])
    for i in range(steps):
        chosen = order[i * batch : (i + 1) * batch]
        images = _shift(data.to_bytes(examples.examples[chosen], examples.gray_levels), rng)
        params, state, loss = step(params, state, images, examples.labels[chosen])
        if i % 200 == 0 or i == steps - 1:
            print(f"step {i + 1}/{steps}  loss {float(loss):.4f}", flush=True)
    return network, jax.tree.map(lambda a: jnp.asarray(np.asarray(a, np.float16), jnp.float32), params)


def accuracy(network: ConvClassifier, params: Any, examples: data.Dataset, batch: int = 1000) -> float:
    """Share of the examples that are classified correctly; every one counts once."""
    assert examples.gray_levels is not None and examples.labels is not None
    classify = jax.jit(lambda params, images: jnp.argmax(jnp.asarray(network.apply({"params": params}, images)), -1))
    right = 0
    for chosen, mask in data.eval_batches(len(examples), min(batch, len(examples))):
        images = data.to_bytes(examples.examples[chosen], examples.gray_levels)
        right += int((np.asarray(classify(params, images)) == examples.labels[chosen])[mask].sum())
    return right / len(examples)


def _make_step(network: ConvClassifier, optimizer: optax.GradientTransformation) -> Callable[..., Any]:
    def loss(params: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        logits = jnp.asarray(network.apply({"params": params}, images))
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit  # one step per call: convolutions inside loops are slow on a CPU
    def step(params: Any, state: Any, images: jax.Array, labels: jax.Array) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(params, images, labels)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    return step


def _shift(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by up to a fourteenth of its height; what comes in at the edge repeats it."""
    count, height, width, _ = images.shape
    most = height // 14
    rows, columns = (rng.integers(-most, most + 1, (count, 1)) for _ in range(2))
    rows, columns = (rows + np.arange(height)).clip(0, height - 1), (columns + np.arange(width)).clip(0, width - 1)
    return images[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def main() -> None:
    """Train, measure on the test split, write."""
    parser = argparse.ArgumentParser("train_classifier", description=__doc__)
    parser.add_argument("--data", default="mnist", help="mnist, digits, cifar10 or another set of images with labels")
    parser.add_argument("--data_dir", help="where prepared sets are")
    parser.add_argument("--name", required=True, help="what results call it; end it in a version")
    parser.add_argument("--out", required=True, help=".npz to write")
    parser.add_argument("--epochs", type=int, default=6)
    args = parser.parse_args()
    examples, test = (data.load(args.data, split, data_dir=args.data_dir) for split in ("train", "test"))
    network, params = train(examples, epochs=args.epochs)
    share = accuracy(network, params, test)
    save(args.out, params, name=args.name, accuracy=share, shape=examples.shape)
    print(f"{share:.2%} of {len(test)} test images: {args.out}")


if __name__ == "__main__":
    main()
