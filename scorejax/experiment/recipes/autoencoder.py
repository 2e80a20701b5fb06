"""A variational autoencoder, and its relatives whose encoder is any function of the example and of noise.

The loss is `-log p(x | z) - weight (log p(z) + H)` with the prior `p(z) = N(0, I)` and an entropy `H`: of `q(z | x)`
(ELBO, Kingma and Welling, arXiv 1312.6114) or of `q(z)` over all examples (WAE, Tolstikhin et al.,
arXiv 1711.01558). Only the entropy of a normal `q(z | x)` is known; of any other only its gradient is needed, and that
takes the score alone, which is estimated (Song et al., arXiv 1905.07088, section 4.2).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge
from jax import Array, lax
from jax.tree_util import Partial

from scorejax import likelihood, models
from scorejax.data import Form, Space
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.likelihood.observation import Binary, Family, Levels, Observation, Values
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, Positive
from scorejax.objectives import score_matching
from scorejax.runtime.errors import ConfigError
from scorejax.scores import estimators

_SEEN, _NOISE, _AGAIN, _PROBE, _MORE, _DRAW = range(1, 7)  # streams of an example's key; 0 prepares the example
_FITTED = 64  # draws of an implicit encoder that its proposal is fitted to
_WIDER, _LEAST = 1.2, 0.05  # how much wider than these it is, and how wide at least: too narrow, it leaves things out


class Autoencoder(Recipe):
    """Latent numbers that examples are decoded from (a VAE), with a normal or an implicit encoder, or as a WAE."""

    uses = ("model",)

    def __init__(
        self,
        given: Given,
        *,
        latents: Count = 8,
        posterior: Literal["gaussian", "implicit"] = "gaussian",
        penalty: Literal["elbo", "wae"] = "elbo",
        entropy: Literal["auto", "exact", "sliced", "stein", "spectral"] = "auto",
        weight: Positive = 1.0,
        decoder: Literal[Family, "bernoulli"] = "logistic",
        decoder_noise: bool = True,
        estimated_from: Annotated[int, Ge(2)] = 100,
        score_features: Count = 256,
        score_depth: Count = 2,
        score_rate: Positive = 1.0,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            latents: how many latent numbers an example has.
            posterior: the encoder: gaussian gives the mean and the variances of a normal `q(z | x)`, implicit is any
                function of the example and of as many normal numbers as there are latents.
            penalty: what is held against the prior: elbo the law of `z` of each example, wae that over all examples.
            entropy: where the gradient of its entropy comes from: exact, of a normal law; the score of `z` by a network
                that is trained by sliced score matching (sliced), by Stein's identity (stein) or by the eigenfunctions
                of a kernel (spectral); auto: exact where it is known, else sliced.
            weight: of the prior and the entropy, next to the reconstruction; 1 is a bound of the likelihood.
            decoder: law of a value given `z`: logistic or gaussian, of images cut into the bins of the gray levels;
                bernoulli: of black and white pixels, which are drawn from the gray levels anew at every step.
            decoder_noise: whether samples are drawn from that law; false: they are its means.
            estimated_from: stein and spectral with elbo: draws of `z` of an example that its score is estimated from.
            score_features: sliced: width of the hidden layers of the score network.
            score_depth: sliced: how many there are.
            score_rate: sliced: its learning rate, as a multiple of optim.lr.
        """
        super().__init__(given)
        networks.check_network(self.config, "autoencoders")
        known = posterior == "gaussian" and penalty == "elbo"
        if entropy == "exact" and not known:
            of = "an implicit posterior" if posterior == "implicit" else "the law of z over all examples (penalty=wae)"
            raise ConfigError(f"recipe.entropy = 'exact', but the entropy of {of} is unknown; choose sliced, stein or "
                              "spectral")  # fmt: skip
        self.estimated_from = estimated_from
        self.entropy = ("exact" if known else "sliced") if entropy == "auto" else entropy
        self.latents, self.implicit, self.marginal = latents, posterior == "implicit", penalty == "wae"
        self.decoder: Family | Literal["bernoulli"] = decoder
        self.weight, self.decoder_noise = weight, decoder_noise
        self.score_network, self.score_rate = models.LatentScoreMLP(score_features, score_depth), score_rate

    @functools.cached_property
    def law(self) -> _Law:
        """Encoder and decoder, as functions of the weights."""
        form = self.given.form
        return _Law(
            networks.network(self.config, form, "autoencoders"),
            observation(self.config.data.name, form, self.given.space, self.decoder),
            self.given.space,
            form.shape,
            self.latents,
            self.implicit,
            self.decoder_noise,
        )

    def init(self, key: Array) -> Params:
        of_both, of_score = jax.random.split(key)
        law, x = self.law, jnp.zeros((1, *self.given.form.shape))
        noise = jnp.zeros((1, 1, self.latents)) if self.implicit else None
        sizes = {"outputs": law.outputs, "latents": self.latents, "shape": law.decoded}
        params = {"autoencoder": law.network.init(of_both, x, noise, **sizes)["params"]}
        if self.entropy == "sliced":
            z = jnp.zeros((1, self.latents))
            params["score"] = self.score_network.init(of_score, z, None if self.marginal else x)["params"]
        return params

    def loss(self, params: Params, carry: None, batch: Batch, keys: Array) -> tuple[Array, None, Metrics]:
        law, weights = self.law, params["autoencoder"]
        stream = functools.partial(keys_lib.fold_in, keys)
        x = law.see(stream(_SEEN), batch.raw)
        noise = keys_lib.normal(stream(_NOISE), (len(x), 1, self.latents))
        encoded = law.encode(weights, x, noise)
        z = encoded.z[:, 0]
        reconstruction = -law.observation.log_prob(law.decode(weights, z), x)
        metrics = {"reconstruction": reconstruction}
        if self.entropy == "exact":
            divergence = _divergence(encoded)
            loss = reconstruction + self.weight * divergence
            return loss, None, metrics | {"divergence": divergence, "elbo": -reconstruction - divergence}
        surrogate = estimators.entropy_surrogate(self._score(params, batch, keys, x, z), z)
        cross_entropy = -_normal(z)
        metrics["cross_entropy"] = cross_entropy
        loss = reconstruction + self.weight * (cross_entropy + surrogate)
        if self.entropy == "sliced":
            # The score network learns from other draws of a still encoder, as if it had a step of its own.
            again = law.encode(weights, x, keys_lib.normal(stream(_AGAIN), noise.shape)).z[:, 0]
            score = Partial(self._network_score, params["score"], None if self.marginal else x)
            metrics["score_loss"] = score_matching.sliced(stream(_PROBE), score, lax.stop_gradient(again))
            loss += metrics["score_loss"]
        return loss, None, metrics

    def optimizer(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        if self.entropy != "sliced":
            return optimizer
        players: dict[Hashable, optax.GradientTransformation] = {
            "autoencoder": optimizer,
            "score": optax.chain(optimizer, optax.scale(self.score_rate)),
        }
        return optax.multi_transform(players, {name: name for name in players})

    def model(self, params: Params) -> Model:
        weights = params["autoencoder"]
        return Model(
            sample=Partial(self.law.sample, weights),
            evidence=Partial(self.law.evidence, weights),
            binarizes=isinstance(self.law.observation, Binary),
        )

    def _network_score(self, weights: Params, x: Array | None, z: Array) -> Array:
        value = self.score_network.apply({"params": weights}, z, x)
        assert isinstance(value, Array)
        return value

    def _score(self, params: Params, batch: Batch, keys: Array, x: Array, z: Array) -> Partial:
        """The score of `q(z | x)`, or of `q(z)`, at the draws `z [b, L]` of these examples."""
        if self.entropy == "sliced":
            return Partial(self._network_score, params["score"], None if self.marginal else x)
        estimate = estimators.stein if self.entropy == "stein" else estimators.spectral
        z = lax.stop_gradient(z)
        if self.marginal:
            # of the whole batch, whichever devices it is on, and at this device's part of it
            values = estimate(batch.gather(z)).at_samples
            return Partial(_known, lax.dynamic_slice_in_dim(values, batch.part * len(z), len(z)))
        noise = keys_lib.normal(keys_lib.fold_in(keys, _MORE), (len(z), self.estimated_from - 1, self.latents))
        others = self.law.encode(lax.stop_gradient(params["autoencoder"]), x, noise).z
        together = jnp.concatenate([z[:, None], others], axis=1)
        return Partial(_known, jax.vmap(lambda samples: estimate(samples).at_samples[0])(together))


def observation(name: str, form: Form, space: Space, decoder: Family | Literal["bernoulli"]) -> Observation:
    """The law of an example given the outputs of the decoder.

    Raises:
        ConfigError: binary pixels are asked for of vectors.
    """
    centered = space.interval is not None and space.interval[0] < 0
    if decoder == "bernoulli":
        if space.gray_levels is None:
            raise ConfigError(
                f"recipe.decoder = 'bernoulli' is for pixels, but data = {name!r} are vectors; choose gaussian or "
                "logistic"
            )
        return Binary(space.gray_levels, centered)
    return Values(decoder) if space.gray_levels is None else Levels(space.gray_levels, centered, decoder)


@dataclasses.dataclass(frozen=True)
class _Encoded:
    """Draws of `z [b, K, L]`, and for a normal posterior its means and standard deviations `[b, L]`."""

    z: Array
    mean: Array | None = None
    std: Array | None = None


@dataclasses.dataclass(frozen=True)
class _Law:
    """An autoencoder as functions of its weights; equal for equal settings, so that programs are found again."""

    network: nn.Module
    observation: Observation
    space: Space
    shape: tuple[int, ...]
    latents: int
    implicit: bool
    decoder_noise: bool

    @property
    def outputs(self) -> int:
        """How many numbers the encoder gives."""
        return self.latents if self.implicit else 2 * self.latents

    @property
    def decoded(self) -> tuple[int, ...]:
        """The shape of what the decoder gives."""
        return (*self.shape, self.observation.parameters)

    def see(self, keys: Array, raw: Array) -> Array:
        """What is explained of examples, in model space; the encoder sees the same."""
        return self.observation.observe(keys, self.space.middle(raw))

    def encode(self, params: Params, x: Array, noise: Array) -> _Encoded:
        """Latent vectors of examples, one for each row of the `noise [b, K, L]`."""
        given = noise if self.implicit else None
        found = self.network.apply({"params": params}, x, given, outputs=self.outputs, method="encode")
        assert isinstance(found, Array)
        if self.implicit:
            return _Encoded(found)
        mean, log_std = jnp.split(found, 2, axis=1)
        std = jnp.exp(log_std)
        return _Encoded(mean[:, None] + std[:, None] * noise, mean, std)

    def decode(self, params: Params, z: Array) -> Array:
        """What the decoder says of the examples of latent vectors `[..., L]`."""
        outputs = self.network.apply({"params": params}, z, self.decoded, method="decode")
        assert isinstance(outputs, Array)
        return outputs

    def sample(self, params: Params, keys: Array, shape: tuple[int, ...]) -> Array:
        """Draw samples, each from its own key."""
        z = keys_lib.normal(keys_lib.fold_in(keys, _NOISE), (len(keys), self.latents))
        noise = keys_lib.fold_in(keys, _DRAW) if self.decoder_noise else None
        return self.observation.draw(noise, self.decode(params, z))

    def evidence(self, params: Params, keys: Array, raw: Array, **effort: int) -> likelihood.Evidence:
        """The bound of the likelihood, with proposals by the encoder."""
        x = self.see(keys_lib.fold_in(keys, _SEEN), raw)
        found = self.encode(params, x, keys_lib.normal(keys_lib.fold_in(keys, _NOISE), (len(x), _FITTED, self.latents)))
        if not self.implicit:
            assert found.mean is not None and found.std is not None
            proposal = found.mean, found.std
        else:
            spread = jnp.maximum(_WIDER * jnp.std(found.z, axis=1), _LEAST)
            proposal = jnp.mean(found.z, axis=1), spread
        return likelihood.evidence(keys, Partial(self._likelihood, params), x, proposal, **effort)

    def _likelihood(self, params: Params, x: Array, z: Array) -> Array:
        """`log p(x | z)` of one example, `[K]`, given latent vectors `[K, L]`."""
        return self.observation.log_prob(self.decode(params, z), x[None])


def _known(values: Array, z: Array) -> Array:
    """Scores that were computed before."""
    return values


def _normal(z: Array) -> Array:
    """Log density of the prior, `[b]`."""
    return jnp.sum(jax.scipy.stats.norm.logpdf(z), axis=1)


def _divergence(encoded: _Encoded) -> Array:
    """`KL(q(z | x) || p(z))` of normal laws, `[b]`."""
    assert encoded.mean is not None and encoded.std is not None
    return 0.5 * jnp.sum(encoded.mean**2 + encoded.std**2 - 1.0 - 2.0 * jnp.log(encoded.std), axis=1)
