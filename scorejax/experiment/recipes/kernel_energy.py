"""A deep kernel exponential family: an energy that is linear in weights, which are found in closed form.

    log p(x) = log N(x; 0, base_std^2) + sum_l alpha_l k(x, z_l) + constant

Given the kernel, score matching of the weights is a system of linear equations. The kernel is learned through its
solution: the weights are solved for on examples of earlier steps, and what the gradient follows is the loss of those of
this step, which the weights have not seen (Wenliang et al., arXiv 1811.08357). In the last part of the training the
kernel stands still, and the moments that the final weights come from are averaged over the data.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from annotated_types import Interval
from jax import Array, lax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from scorejax import score_matching, sdes
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.config.parts import Seam
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.models.deep_kernel import kernels
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, Positive
from scorejax.objectives.linear_family import FAMILIES, GaussianKernels, Moments, Terms
from scorejax.runtime.errors import user_errors

_OBJECTIVE, _REMEMBERED = 1, 2  # streams of a key; 0 prepares the example
_WINDOW = 100  # steps over which moments are averaged while the kernel moves
FAMILY = Seam(dict(FAMILIES), "matching", "exact", supplied=frozenset({"base"}), closed=True)


class KernelEnergy(Recipe):
    """An unnormalized density of learned kernels, whose weights are solved for."""

    uses = ("model", "sampler")

    def __init__(
        self,
        given: Given,
        *,
        matching: Annotated[Any, FAMILY] = "exact",
        remembered: Count = 200,
        base_std: Positive = 2.0,
        ridge: Positive = 0.01,
        settled: Annotated[float, Interval(ge=0, lt=1)] = 0.2,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            matching: the form of score matching whose minimum the weights are.
            remembered: how many of the latest examples the weights are solved for in training.
            base_std: standard deviation of the normal base measure in model space, where vectors have deviation 1.
            ridge: what is added to the diagonal of the linear system at first; it is learned.
            settled: share of the steps, at the end, in which the kernel stands still.
        """
        super().__init__(given)
        networks.check_network(self.config, "kernels")
        self.remembered, self.ridge, self.settled, self.base_std = remembered, ridge, settled, base_std
        self.matching = FAMILIES[matching] if isinstance(matching, str) else matching
        with user_errors("recipe.matching"):  # found out here, not inside the compiled step
            point = jax.ShapeDtypeStruct((1, 2), jnp.float32)
            jax.eval_shape(lambda x: self.matching(jax.random.key(0), lambda y: y, x), point)

    @functools.cached_property
    def law(self) -> _Law:
        """The energy as a function of the weights."""
        network = networks.network(self.config, self.given.form, "kernels")
        return _Law(network, self.given.form.dimension, self.base_std)

    def init(self, key: Array) -> Params:
        kernel = self.law.network.init(key, jnp.zeros((1, *self.given.form.shape)))["params"]
        points = len(self.law.features(kernel).centers)
        learned = {"network": kernel, "log_ridge": jnp.log(jnp.float32(self.ridge))}
        return {"kernel": learned, "moments": {"gram": jnp.zeros((points, points)), "slope": jnp.zeros(points)}}

    def carry(self, key: Array) -> Array:
        return jax.random.normal(key, (self.remembered, *self.given.form.shape), jnp.float32)

    def loss(self, params: Params, carry: Array, batch: Batch, keys: Array) -> tuple[Array, Array, Metrics]:
        kernel, moments = params["kernel"], params["moments"]
        before = keys_lib.per_example(jax.random.fold_in(batch.whole_key, _REMEMBERED), len(carry))
        ridge = jnp.exp(kernel["log_ridge"])
        alpha = self._terms(kernel, before, carry).moments().solve(ridge)
        own = self._terms(kernel, keys_lib.fold_in(keys, _OBJECTIVE), batch.x)
        latest = jnp.concatenate([carry, batch.gather(batch.x).astype(carry.dtype)])[-len(carry) :]
        losses = own.loss(alpha) + _followed(moments, lax.stop_gradient(own))
        return losses, lax.stop_gradient(latest), {"ridge": ridge}

    def optimizer(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        steps = self.config.train.steps
        last = int(steps * (1 - self.settled))  # of the steps in which the kernel moves

        def rate(step: ArrayLike) -> Array:
            moving, still = 1 / (1 + jnp.minimum(step, _WINDOW)), 1 / (1 + jnp.maximum(jnp.asarray(step) - last, 0))
            return -jnp.where(jnp.less(step, last), moving, still)

        moves = optax.chain(optimizer, optax.scale_by_schedule(lambda step: jnp.where(jnp.less(step, last), 1.0, 0.0)))
        parts: dict[Hashable, optax.GradientTransformation] = {
            "kernel": moves,
            "moments": optax.scale_by_schedule(rate),
        }
        return optax.multi_transform(parts, {"kernel": "kernel", "moments": "moments"})

    def model(self, params: Params) -> Model:
        return Model(
            sde=sdes.still(start_scale=self.base_std),
            score=Partial(self.law.score, params),
            energy=Partial(self.law.energy, params),
        )

    def _terms(self, kernel: Params, keys: Array, x: Array) -> Terms:
        return self.matching(keys, self.law.features(kernel["network"]), x, base=self.law.log_base)


def _followed(moments: Params, own: Terms) -> Array:
    """Zeros `[b]`, whose mean has the gradient `moments - mean moments of the examples`."""
    now = lax.stop_gradient(moments)
    gram, slope = (moments[name] - now[name] for name in ("gram", "slope"))
    mine = jnp.einsum("bki,ij,bkj->b", own.fields, gram, own.fields)
    mine += own.traces @ slope + jnp.einsum("bki,bk->bi", own.fields, own.field) @ slope
    return jnp.sum(now["gram"] * gram) + now["slope"] @ slope - mine


@dataclasses.dataclass(frozen=True)
class _Law:
    """The law of kernels; equal for equal settings, so that compiled programs are found again."""

    network: nn.Module
    dimension: int
    base_std: float

    def features(self, kernel: Params) -> GaussianKernels:
        """The kernels of points with all inducing points."""
        return kernels(self.network, kernel, self.dimension)

    def log_base(self, x: Array) -> Array:
        """The log of the base measure, `[B]`."""
        return jnp.sum(jax.scipy.stats.norm.logpdf(x, scale=self.base_std), axis=1)

    def energy(self, params: Params, x: Array) -> Array:
        """Minus the log density up to a constant, in nats, `[B]`; until anything is learned, of the base measure."""
        kernel, moments = params["kernel"], params["moments"]
        alpha = Moments(moments["gram"], moments["slope"], jnp.float32(0)).solve(jnp.exp(kernel["log_ridge"]))
        return -self.log_base(x) - self.features(kernel["network"])(x) @ alpha

    def score(self, params: Params, x: Array, t: Array | None = None, condition: None = None) -> Array:
        """Minus its gradient; the density has one noise level, so any time gives the same."""
        return score_matching.of_energy(Partial(self.energy, params))(x)
