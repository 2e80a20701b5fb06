"""Networks of one's own: a pair of functions in the place of a flax module, and what any network has to keep to."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorejax.models.condition import no_condition


@runtime_checkable
class Network(Protocol):
    """What the setting `model` takes: a flax module, or any object with these two functions."""

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """`(key, x, label, condition) -> params`; the condition is None for a network without."""
        ...

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """`(params, x, label, condition, train, rngs) -> output` of the shape of `x`."""
        ...


class OwnNetwork(nn.Module):
    """A flax module of a network that is a pair of functions.

    Attributes:
        network: with `init(key, x, label, condition)` and `apply(params, x, label, condition, train, rngs)`, where
            `rngs` is `{"dropout": key}` in training, and empty otherwise.
        num_classes: as of any network.
        condition: as of any network.
        condition_dim: as of any network.
    """

    role: ClassVar[str] = "scores"

    network: Any
    num_classes: int | None = None
    condition: str = "label"
    condition_dim: int | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network: `x [B, ...]`, `labels [B]`, and the condition, if there is one."""
        params = self.param("network", lambda key: self.network.init(key, x, labels, condition))
        rngs = {"dropout": self.make_rng("dropout")} if train and self.has_rng("dropout") else {}
        return self.network.apply(params, x, labels, condition, train, rngs)


def check_outputs(network: nn.Module, shape: tuple[int, ...]) -> None:
    """Check that a network of scores maps examples to arrays of their shape, and each row by itself.

    A network that has not been trained may be zero everywhere, and two rows of zeros say nothing of each other; so the
    parameters are made up.

    Args:
        network: called by `(x, label[, condition])`.
        shape: of an example.

    Raises:
        ValueError: another shape or type, numbers that are not finite, or rows that depend on each other.
    """
    none = no_condition(network)
    condition = () if none is None else (jnp.concatenate([none, none]),)
    x = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    labels = np.array([1.0, 1.0], np.float32)
    name = type(getattr(network, "network", network)).__name__
    variables = jax.eval_shape(network.init, jax.random.key(0), x, labels, *condition)
    if set(variables) != {"params"}:
        raise ValueError(
            f"network {name} keeps {', '.join(sorted(set(variables) - {'params'})) or 'no parameters'}: a network has "
            "parameters and nothing else, so averages over batches (batch norm) have no place; take a layer norm"
        )

    @jax.jit
    def run(params: Any, x: jax.Array, labels: jax.Array) -> Any:
        return network.apply({"params": params}, x, labels, *condition)

    out = jax.eval_shape(run, variables["params"], x, labels)
    channels = shape[-1] * (2 if getattr(network, "learned_range", False) else 1)
    wanted = (2, *shape[:-1], channels)
    if getattr(out, "shape", None) != wanted or not jnp.issubdtype(out.dtype, jnp.floating):
        found = f"{out.dtype} of shape {out.shape}" if hasattr(out, "shape") else type(out).__name__
        raise ValueError(
            f"network {name} maps two examples, an array of shape {x.shape}, to {found}; it must be floats of shape "
            f"{wanted}"
        )
    params = _made_up(variables["params"])
    other = np.concatenate([x[:1], 0.5 - 2.0 * x[1:]])
    first, second = (
        np.asarray(run(params, *each)) for each in ((x, labels), (other, np.array([1.0, 3.0], np.float32)))
    )
    if not np.isfinite(first).all():
        raise ValueError(f"network {name} with random parameters puts out numbers that are not finite")
    gap = np.abs(first[0] - second[0]).max()
    if gap > 1e-3 * (1e-6 + np.abs(first[0]).max()):
        raise ValueError(
            f"network {name} mixes the rows of a batch: row 0 changed when row 1 did, by up to {gap:.2g}; each example "
            "is mapped by itself, without means over axis 0, and without batch norm"
        )


def _made_up(params: Any) -> Any:
    """Parameters of about unit gain from numpy, none of them zero."""
    draw = np.random.default_rng(1)

    def leaf(of: Any) -> Any:
        if not jnp.issubdtype(of.dtype, jnp.floating):
            return jnp.zeros(of.shape, of.dtype)
        fan_in = np.prod(of.shape[:-1]) if len(of.shape) > 1 else 4.0
        return jnp.asarray(draw.standard_normal(of.shape) / np.sqrt(max(fan_in, 1.0)), of.dtype)

    return jax.tree.map(leaf, params)
