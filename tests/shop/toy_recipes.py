"""Small recipes whose every number is known; configs name them `toy_recipes:NAME`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from scorejax import data
from scorejax.experiment import assemble
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Recipe
from scorejax.runtime import parallel
from scorejax.scores import analytic


class Point(Recipe):
    """A point that is pulled towards the examples: the loss is half its squared distance from each."""

    draws = False
    uses = ()

    def __init__(self, given, *, speed: float = 1.0):
        super().__init__(given)
        self.speed = speed

    def init(self, key):
        return {"at": jnp.zeros(self.given.examples.shape)}

    def loss(self, params, carry, batch, keys):
        squares = jnp.square(params["at"] - batch.x)
        return 0.5 * squares.sum(-1), carry, {"furthest": jnp.sqrt(squares.max(-1)), "step_before": batch.step + 0.0}

    def model(self, params):
        return Model()


class Drawn(Point):
    """A point whose run has a forward process, as if samples could be drawn of it."""

    draws = True
    uses = ("sde",)


class Remembering(Point):
    """Remembers the running sum of the whole batch's losses, the same on every device, and pulls the harder."""

    def carry(self, key):
        return {"sum": jnp.float32(0), "drawn": jax.random.normal(key, (3,)), "key": key}

    def loss(self, params, carry, batch, keys):
        losses, _, metrics = super().loss(params, None, batch, keys)
        total = batch.gather(losses).sum()
        new = {**carry, "sum": carry["sum"] + total, "key": jax.random.fold_in(carry["key"], batch.step)}
        return losses * (1 + 0.01 * carry["drawn"].mean()), new, metrics


class Buffering(Point):
    """Each device has a buffer of its own examples, among which it puts its new ones."""

    carry_is_shared = False

    def carry(self, key):
        return {"buffer": jax.random.normal(key, (4, *self.given.examples.shape)), "key": key}

    def loss(self, params, carry, batch, keys):
        losses, _, metrics = super().loss(params, None, batch, keys)
        own, new = jax.random.split(carry["key"])
        place = jax.random.randint(own, (), 0, 4)
        buffer = carry["buffer"].at[place].set(batch.x[0] + params["at"])
        negative = 0.1 * jnp.square(params["at"] - carry["buffer"]).sum(-1).mean()
        return losses + negative, {"buffer": buffer, "key": new}, metrics | {"negative": negative}


class Several(Point):
    """Two points, one by the optimizer of the run and one by plain gradient descent at rate `speed`."""

    def init(self, key):
        return {"fast": jnp.zeros(self.given.examples.shape), "slow": jnp.zeros(self.given.examples.shape)}

    def loss(self, params, carry, batch, keys):
        of = super().loss
        return (
            of({"at": params["fast"]}, None, batch, keys)[0] + of({"at": params["slow"]}, None, batch, keys)[0],
            None,
            {},
        )

    def optimizer(self, optimizer):
        labels = {"fast": "given", "slow": "plain"}
        return optax.multi_transform({"given": optimizer, "plain": optax.sgd(self.speed)}, labels)


class Poisoned(Point):
    """A loss that is no number from step `at` on."""

    def __init__(self, given, *, at: int = 6):
        super().__init__(given)
        self.at = at

    def loss(self, params, carry, batch, keys):
        losses, carry, metrics = super().loss(params, carry, batch, keys)
        return losses + jnp.where(batch.step >= self.at, jnp.nan, 0.0), carry, metrics


class Wary(Point):
    """Its loss is no number in step 2, and in step 5 it is not to be trusted."""

    def __init__(self, given, *, from_now_on: bool = False):
        super().__init__(given)
        self.from_now_on = from_now_on

    def loss(self, params, carry, batch, keys):
        losses, carry, metrics = super().loss(params, carry, batch, keys)
        wrong = batch.step == 5 if not self.from_now_on else batch.step >= 4
        return losses * jnp.where(batch.step == 2, jnp.nan, 1.0), carry, {**metrics, "wrong": wrong + 0.0}

    def trusts(self, metrics):
        return metrics["wrong"] == 0

    def remark(self, means):
        return f"{means['went_back']:.2f} of the steps went back" if means["went_back"] else None


class Overshooting(Point):
    """Plain gradient descent: with a large `optim.lr` each step is too long by that factor, and a loss is infinite."""

    def optimizer(self, optimizer):
        return optax.sgd(self.config.optim.lr)


class Leaping(Point):
    """Its first step is endless: the loss before it is finite, the point after it is not."""

    def optimizer(self, optimizer):
        return optax.sgd(float("inf"))


class Straying(Point):
    """A mistake that is to be caught: each device moves the point its own way."""

    def optimizer(self, optimizer):
        own = optax.stateless(lambda updates, params: jax.tree.map(lambda u: u + parallel.part(), updates))
        return optax.chain(optimizer, own)


class Drifting(Point):
    """A mistake that is to be caught: what should be the same on every device is each device's own."""

    def carry(self, key):
        return jnp.zeros(())

    def loss(self, params, carry, batch, keys):
        losses, _, metrics = super().loss(params, None, batch, keys)
        return losses, carry + losses.sum(), metrics


class Squares(Point):
    """Next to a score: one number times the squared length of the score at each example, under its condition."""

    def init(self, key):
        return jnp.float32(1.0)

    def loss(self, params, carry, batch, keys):
        score = self.given.beside.model.score_given(batch.labels)
        return params * squared_score(score, batch.raw), None, {}


def squared_score(score, x):
    return jnp.sum(score(x, jnp.full(len(x), 0.5)) ** 2, axis=1)


IMAGES = analytic.gaussian(np.full(64, -0.4), np.full(64, 0.3))
VECTORS = analytic.gaussian(data.GAUSSIAN_MEAN, data.GAUSSIAN_COVARIANCE)


class Exact(Point):
    """The exact score of Gaussian data, scaled by how much of the weights `(1, 1, 1)` the given ones are."""

    uses = ("sde", "model", "objective", "sampler", "guidance", "sweep")

    def init(self, key):
        return {"w": jnp.ones(3)}

    def model(self, params):
        sde = assemble.sde(self.config)
        return Model(sde=sde, score=Partial(exact, sde, params["w"].mean()))


class Fading(Exact):
    """The exact score, which training makes smaller: its loss is the size of the weights."""

    def loss(self, params, carry, batch, keys):
        return jnp.full(len(batch.x), jnp.sum(jnp.square(params["w"]))), None, {}


def exact(sde, share, x, t, condition):
    law = VECTORS if x.ndim == 2 else IMAGES
    return share * law.score_at(sde, x.reshape(len(x), -1), t).reshape(x.shape)
