"""Small networks on top of a frozen one: what predicts a variance from what the large one already knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorejax.models.embedding import NoiseEmbedding, smooth_label_features
from scorejax.models.layers import GroupNorm, ResBlock, conv3x3, dense_init


class ImageHead(nn.Module):
    """Head on the last feature map of an image network (NPR-DPM, SN-DPM; arXiv 2206.07309).

    `conv3x3(silu(GroupNorm(h)))`, its output zero at first; with `deep` a residual block that knows the noise label
    comes before it, as SN-DPM needs on larger images.

    Attributes:
        channels: Channels of the result, those of the images.
        deep: Whether to add the residual block.
    """

    channels: int
    deep: bool = False

    @nn.compact
    def __call__(self, features: jax.Array, labels: jax.Array) -> jax.Array:
        """Map features `[B, H, W, C]` and noise labels `[B]` to `[B, H, W, channels]`."""
        h = features
        if self.deep:
            embedding = NoiseEmbedding(h.shape[-1], name="embedding")(labels, None)
            h = ResBlock(h.shape[-1], name="block")(h, embedding, False)
        return conv3x3(self.channels, "conv_out", 0.0)(nn.silu(GroupNorm(name="norm")(h)))


class VectorHead(nn.Module):
    """Head for networks of vectors: a multi-layer perceptron of the input, the frozen output and the label.

    Attributes:
        features: Width of the hidden layers; a multiple of 4.
        depth: Number of hidden layers.
    """

    features: int = 64
    depth: int = 2

    @nn.compact
    def __call__(self, x: jax.Array, output: jax.Array, labels: jax.Array) -> jax.Array:
        """Map `x [B, D]`, the frozen output `[B, D]` and noise labels `[B]` to `[B, D]`."""
        h = jnp.concatenate([x, output, output**2, smooth_label_features(labels, self.features)], axis=-1)
        for i in range(self.depth):
            h = nn.silu(nn.Dense(self.features, kernel_init=dense_init(), name=f"dense_{i}")(h))
        return nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros, name="dense_out")(h)


def with_input_of(layer: str, apply: Callable[[], Any]) -> tuple[Any, jax.Array]:
    """Run a linen network and return its result with what went into one of its layers.

    `norm_out` names the last normalisation of the image networks; its input is the last feature map.

    Args:
        layer: name of the layer.
        apply: calls `module.apply(...)`, without gradients for a frozen network.

    Raises:
        ValueError: if the network has no such layer, or calls it more than once.
    """
    seen = []

    def watch(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        if context.module.name == layer and context.method_name == "__call__":
            seen.append(args[0])
        return call(*args, **kwargs)

    with nn.intercept_methods(watch):
        result = apply()
    if len(seen) != 1:
        raise ValueError(f"expected one call of a layer named {layer!r}, got {len(seen)}; name another layer")
    return result, seen[0]


def head_on(
    network: nn.Module,
    frozen: Any,
    head: ImageHead | VectorHead,
    params: Any,
    *,
    label: Callable[[jax.Array], jax.Array],
    class_labels: jax.Array | None = None,
) -> Partial:
    """Return `head(x, t)` for `scorejax.variance`: a head on a frozen network, which runs without dropout.

    Where the network's score is evaluated at the same points in one compiled program, its work is shared.

    Args:
        network: the frozen network.
        frozen: its parameters.
        head: an `ImageHead` for a network with a layer `norm_out`, or a `VectorHead`.
        params: the parameters of the head; the only ones to receive gradients.
        label: maps times to noise labels, usually `sde.label`.
        class_labels: `[B]`, for a conditional network.
    """
    return Partial(_HeadOn(network, head, label), frozen, params, class_labels)


@dataclass(frozen=True)
class _HeadOn:
    """Static part of a head; equal for equal networks, so that compiled programs are found again."""

    network: nn.Module
    head: ImageHead | VectorHead
    label: Callable[[jax.Array], jax.Array]

    def __call__(
        self, frozen: Any, params: Any, class_labels: jax.Array | None, x: jax.Array, t: jax.Array
    ) -> jax.Array:
        labels = self.label(t)

        def run() -> Any:
            return self.network.apply({"params": frozen}, x, labels, class_labels, False)

        variables = {"params": params}
        if isinstance(self.head, VectorHead):
            value: Any = self.head.apply(variables, x, jax.lax.stop_gradient(run()), labels)
        else:
            _, features = with_input_of("norm_out", run)
            value = self.head.apply(variables, jax.lax.stop_gradient(features), labels)
        return value
