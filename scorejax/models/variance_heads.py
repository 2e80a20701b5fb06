"""Small networks on top of a frozen one: what predicts a variance from what the large one already knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.module import InterceptorContext
from jax.tree_util import Partial

from scorejax.models.embedding import smooth_label_features
from scorejax.models.layers import IMAGES, GroupNorm, ResBlock, conv3x3, dense_init
from scorejax.numerics.trees import PyTree
from scorejax.scores.predictions import Score, convert
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE


class ImageHead(nn.Module):
    """Head on the last feature map of an image network (NPR-DPM, SN-DPM; arXiv 2206.07309).

    `conv3x3(silu(GroupNorm(h)))`, its output zero at first; with `deep` a residual block that knows the noise label
    comes before it, as SN-DPM needs on larger images.

    Attributes:
        channels: channels of the result, those of the images.
        deep: whether to add the residual block.
        layer: the layer of the frozen network whose input is its last feature map, see `last_norm`.
    """

    channels: int
    deep: bool = False
    layer: str = "norm_out"

    @nn.compact
    def __call__(self, features: jax.Array, labels: jax.Array) -> jax.Array:
        """Map features `[B, H, W, C]` and noise labels `[B]` to `[B, H, W, channels]`."""
        h, zeros = features, IMAGES[:1] * (features.ndim - 2)
        if self.deep:
            width = 4 * h.shape[-1]
            embedding = nn.Dense(width, kernel_init=dense_init(), name="label")(smooth_label_features(labels, width))
            h = ResBlock(h.shape[-1], padding=zeros, name="block")(h, embedding, False)
        return conv3x3(self.channels, "conv_out", 0.0, padding=zeros)(nn.silu(GroupNorm(name="norm")(h)))


class VectorHead(nn.Module):
    """Head for networks of vectors: a multi-layer perceptron of the input, the predicted noise and the label.

    Attributes:
        features: width of the hidden layers; a multiple of 4.
        depth: number of hidden layers.
    """

    features: int = 64
    depth: int = 2

    @nn.compact
    def __call__(self, x: jax.Array, noise: jax.Array, labels: jax.Array) -> jax.Array:
        """Map `x [B, D]` of unit size, the predicted noise `[B, D]` and noise labels `[B]` to `[B, D]`."""
        h = jnp.concatenate([x, noise, noise**2, smooth_label_features(labels, self.features)], axis=-1)
        for i in range(self.depth):
            h = nn.silu(nn.Dense(self.features, kernel_init=dense_init(), name=f"dense_{i}")(h))
        return nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros, name="dense_out")(h)


Head = ImageHead | VectorHead
Result = TypeVar("Result")


def last_norm(network: nn.Module) -> str:
    """Name of the layer of an image network whose input is the last feature map at full resolution."""
    return "up_0_output_norm" if getattr(network, "progressive", None) == "output_skip" else "norm_out"


def with_input_of(layer: str, apply: Callable[[], Result]) -> tuple[Result, jax.Array]:
    """Run a linen network and return its result with what went into one of its layers.

    Args:
        layer: name of the layer.
        apply: calls `module.apply(...)`, without gradients for a frozen network.

    Raises:
        ValueError: if the network has no such layer, or calls it more than once.
    """
    seen = []

    def watch(call: Callable, args: tuple, kwargs: dict, context: InterceptorContext) -> object:
        if context.module.name == layer and context.method_name == "__call__":
            seen.append(args[0])
        return call(*args, **kwargs)

    with nn.intercept_methods(watch):
        result = apply()
    if len(seen) != 1:
        raise ValueError(f"expected one call of a layer named {layer!r}, got {len(seen)}; name another layer")
    return result, seen[0]


def head_on(sde: LinearSDE, score: Score, head: Head, params: PyTree) -> Partial:
    """Return `head(x, t)` for `scorejax.variance`: a head on the network of a frozen score, which runs without dropout.

    Where the score is evaluated at the same points in one compiled program, the network runs once for both; for
    that they must be one object there, not two copies of the same parameters.

    Args:
        sde: the forward process.
        score: the frozen network as a score, a pytree; its network may predict the noise, the data or anything else.
        head: an `ImageHead` for a network of images, or a `VectorHead`.
        params: the parameters of the head; the only ones to receive gradients.
    """
    check_kind(sde, LinearSDE, "a variance head")
    return Partial(_HeadOn(head), sde, score if isinstance(score, Partial) else Partial(score), params)


def init_head(key: jax.Array, sde: LinearSDE, score: Score, head: Head, shape: tuple[int, ...]) -> PyTree:
    """Initial parameters of a head on a score of examples of the given shape.

    Raises:
        ValueError: if the network behind the score has no layer `head.layer`.
    """
    check_kind(sde, LinearSDE, "a variance head")
    x, t = jnp.zeros((1, *shape)), jnp.full(1, sde.t_max)
    read = jax.eval_shape(lambda: _read(head, sde, score, x, t))
    return head.init(key, *(jnp.zeros(array.shape, array.dtype) for array in read))["params"]


@dataclass(frozen=True)
class _HeadOn:
    """Static part of a head; equal for equal heads, so that compiled programs are found again."""

    head: Head

    def __call__(self, sde: LinearSDE, score: Score, params: PyTree, x: jax.Array, t: jax.Array) -> jax.Array:
        read = jax.lax.stop_gradient(_read(self.head, sde, score, x, t))
        value: PyTree = self.head.apply({"params": params}, *read)
        return value


def _read(head: Head, sde: LinearSDE, score: Score, x: jax.Array, t: jax.Array) -> tuple[jax.Array, ...]:
    """What a head sees of a point."""
    if isinstance(head, ImageHead):
        return with_input_of(head.layer, lambda: score(x, t))[1], sde.label(t)
    size = jax.lax.rsqrt(sde.alpha(t) ** 2 + sde.variance(t))
    return sde.scale(size, t, x), convert(sde, x, t, score(x, t), "score", "noise"), sde.label(t)
