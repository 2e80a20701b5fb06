"""Recipes of models that are known exactly, in the place of trained networks; configs name them `exact_recipes:NAME`.

None is trained: `init_from=known` gives their only weight, a number, as that of step 7.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from scorejax import data, degradations, sdes
from scorejax.degradations.mixing import Noise
from scorejax.experiment import assemble
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Recipe
from scorejax.experiment.recipes.score import Score
from scorejax.likelihood import Evidence
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import register_dataclass
from scorejax.scores import analytic

TRUTH = analytic.gaussian(data.GAUSSIAN_MEAN, data.GAUSSIAN_COVARIANCE)
VARIANCE = 0.25  # of each pixel


class Watch:
    """How often watched models were called, with how many rows; the call after `limit` others is cut off."""

    rows: list = []  # noqa: RUF012
    limit = None

    @classmethod
    def start(cls, limit=None):
        cls.rows, cls.limit = [], limit

    @classmethod
    def see(cls, x):
        if cls.limit is not None and len(cls.rows) >= cls.limit:
            raise RuntimeError("cut off here")
        cls.rows.append(len(x))
        return np.asarray(x)


def watched(x):
    """`x`, seen by the host on its way."""
    return jax.pure_callback(Watch.see, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="broadcast_all")


class Known(Recipe):
    """Nothing to be trained."""

    uses = ("sde", "model", "sampler", "guidance", "sweep")

    def init(self, key):
        return {"w": jnp.zeros(1)}

    def loss(self, params, carry, batch, keys):
        return jnp.zeros(len(batch.x)), None, {}

    def load(self, path):
        return {"w": np.zeros(1, np.float32)}, 7

    @property
    def sde(self):
        return assemble.sde(self.config)


class Gaussian(Known):
    """The exact score of the correlated Gaussian."""

    def __init__(self, given, *, watch: bool = False, process: bool = True):
        super().__init__(given)
        self.watch, self.moves = watch, process

    def model(self, params):
        score = Partial(gaussian_score_watched if self.watch else gaussian_score, self.sde)
        return Model(sde=self.sde if self.moves else None, score=score)


class OneLevel(Known):
    """The correlated Gaussian by its score alone, or also by its energy, without a time: of chains."""

    uses = ("sampler",)

    def __init__(self, given, *, energy: bool = False):
        super().__init__(given)
        self.has_energy = energy

    def model(self, params):
        sde = sdes.still(start_scale=2.0)
        energy = Partial(gaussian_energy, params) if self.has_energy else None
        return Model(sde=sde, score=Partial(static_score, params), energy=energy)


class Degraded(Known):
    """The correlated Gaussian restored from noise as well as can be; or images from a blur, as they are."""

    uses = ("model", "sampler", "guidance")

    def __init__(self, given, *, blurred: bool = False, starts: bool = True):
        super().__init__(given)
        noise = degradations.noise(levels=4) if starts else Endless(levels=4, t_min=0.25, t_max=1.0, estimate=True)
        self.process = degradations.blur(levels=3, kernel=3, std=1.0) if blurred else noise
        self.draws, self.restore = self.process.starts, as_it_is if blurred else posterior_mean

    def model(self, params):
        return Model(degradation=self.process, restore=Partial(self.restore, self.process))


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Endless(Noise):
    """Noise in which nothing begins."""

    starts = False


class Density(Known):
    """The correlated Gaussian by its density and by samples of its own, without any score."""

    uses = ()

    def __init__(self, given, *, log_prob: bool = True, sample: bool = True):
        super().__init__(given)
        self.has = {"log_prob": log_prob, "sample": sample}

    def model(self, params):
        can = {"log_prob": Partial(gaussian_density, params), "sample": Partial(gaussian_samples, params)}
        return Model(**{name: bound for name, bound in can.items() if self.has[name]})


class Latent(Known):
    """The correlated Gaussian by a bound of its likelihood that is exact, and nothing else."""

    uses = ()

    def model(self, params):
        return Model(evidence=Partial(gaussian_evidence, params))


class Unnormalized(Known):
    """The correlated Gaussian by an energy whose log partition function is -3 and less by the weight."""

    uses = ()

    def model(self, params):
        return Model(energy=Partial(raised_energy, params), temperature=0.5)


class Bounded(Score):
    """A network trained by a bound, whose score is then replaced by the exact one of the correlated Gaussian."""

    def load(self, path):
        return jax.jit(self.init)(jax.random.key(0)), 7

    def model(self, params):
        found = super().model(params)
        return Model(sde=found.sde, score=Partial(gaussian_score, found.sde), bound_bits=found.bound_bits)


class Pixels(Known):
    """The score of independent pixels `N(m, 0.25)`.

    `m` is 0; of a conditional model it is `(k - 4) / 10` for class `k`, and 0.05 for no class. A mixture is of all
    classes together. A model that leans leaves out a part of the noise.
    """

    def __init__(
        self,
        given,
        *,
        conditional: bool = False,
        label_dropout: float = 0.0,
        mixture: bool = False,
        lean: float = 0.0,
    ):
        super().__init__(given)
        self.conditional, self.label_dropout, self.mixture, self.lean = conditional, label_dropout, mixture, lean

    def model(self, params):
        return Model(
            sde=self.sde,
            score=Partial(mixture_score, self.sde) if self.mixture else Partial(pixel_score, self.sde, self.lean),
            conditional=self.conditional,
            null_condition=10.0 if self.label_dropout else None,
            num_classes=10 if self.conditional else 0,
        )


class PixelClasses(Known):
    """The exact classifier of those pixels; pixels and ones are its features."""

    draws = False
    uses = ("sde", "model")

    def __init__(self, given, *, features: bool = True):
        super().__init__(given)
        self.features = Partial(pixels_and_ones) if features else None

    def model(self, params):
        logits = Partial(pixel_logits, self.sde)
        return Model(sde=self.sde, logits=logits, features=self.features, num_classes=10)


class Quadrants(Known):
    """Logits of two classes of vectors by the sign of their first number, of clean data: no process, no score."""

    draws = False
    uses = ()

    def model(self, params):
        return Model(logits=Partial(sign_logits, params), num_classes=2)


# ---- What the models are made of; module-level, so that equal models are equal arguments of compiled programs --------


def posterior_mean(process, x, t):
    kept, mixed = process._shares(t[0], x)
    mean, covariance = TRUTH.mean(), TRUTH.covariance()
    gain = kept * covariance @ jnp.linalg.inv(kept**2 * covariance + mixed**2 * jnp.eye(len(mean)))
    return mean + (x - kept * mean) @ gain.T


def as_it_is(process, x, t):
    return x


def gaussian_score(sde, x, t, condition):
    return TRUTH.score_at(sde, x, t)


def gaussian_score_watched(sde, x, t, condition):
    return TRUTH.score_at(sde, watched(x), t)


def static_score(params, x, t, condition):
    return jax.grad(lambda x: -gaussian_energy(params, x).sum())(x)


def gaussian_energy(params, x):
    return -TRUTH.log_prob(x) + params["w"][0]


def gaussian_density(params, keys, x):
    return TRUTH.log_prob(watched(x)) + params["w"][0]


def gaussian_evidence(params, keys, raw, *, samples, temperatures):
    value = TRUTH.log_prob(raw) + params["w"][0]
    return Evidence(value, jnp.zeros_like(value), jnp.full_like(value, samples), jnp.full_like(value, jnp.nan))


def raised_energy(params, x):
    return 3.0 + gaussian_energy(params, x)


def gaussian_samples(params, keys, shape):
    root = np.linalg.cholesky(np.asarray(data.GAUSSIAN_COVARIANCE))
    return watched(jnp.asarray(data.GAUSSIAN_MEAN) + keys_lib.normal(keys, shape) @ root.T)


def class_mean(labels):
    return (jnp.asarray(labels, jnp.float32) - 4.0).reshape(-1, 1, 1, 1) / 10.0


def pixel_score(sde, lean, x, t, condition):
    middle = jnp.float32(0.0)
    if condition is not None:
        condition = jnp.broadcast_to(condition, x.shape[:1])
        middle = jnp.where((condition == 10).reshape(-1, 1, 1, 1), 0.05, class_mean(condition))
    total = sde.scale(sde.alpha(t) ** 2 * VARIANCE + sde.variance(t), t, jnp.ones_like(x))
    return (sde.scale(sde.alpha(t), t, jnp.broadcast_to(middle, x.shape)) - x) / total + lean * x


def pixel_logits(sde, x, t):
    """`log N(x; alpha m_k, alpha^2 v + sigma^2)` of every class `[B, 10]`, up to a constant."""
    t = jnp.broadcast_to(t, x.shape[:1])
    alpha, total = (u[:, None, None] for u in (sde.alpha(t), sde.alpha(t) ** 2 * VARIANCE + sde.variance(t)))
    difference = x.reshape(len(x), 1, -1) - alpha * class_mean(jnp.arange(10)).reshape(1, 10, 1)
    return -jnp.sum(difference**2 / (2 * total), -1)


def mixture_score(sde, x, t, condition):
    return jax.grad(lambda x: jax.nn.logsumexp(pixel_logits(sde, x, t), -1).sum())(x)


def pixels_and_ones(x, t):
    return jnp.concatenate([x, jnp.ones_like(x)], -1)


def sign_logits(params, x, t):
    return x[:, :1] * jnp.array([-1.0, 1.0]) + params["w"][0]


def _white_density(keys, x):
    return jnp.sum(jax.scipy.stats.norm.logpdf(x).reshape(len(x), -1), axis=1)


def _white_samples(keys, shape):
    return keys_lib.normal(keys, shape)


class White(Known):
    """A model of any data: independent standard normal numbers of model space."""

    def model(self, params):
        return Model(log_prob=Partial(_white_density), sample=Partial(_white_samples))
