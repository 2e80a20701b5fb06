"""A trained run as an object, in the units of its user: `run = scorejax.load(DIR)`.

    run.sample(16)                     # gray levels [16, H, W, C], or numbers of any kind
    run.log_prob(x).value              # nats
    run.score(run.to_model(x), t)      # grad log p_t of model space

All that it needs lies in the folder of the run: `config.json`, `data.json`, and a checkpoint; not the training data.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from scorejax import data, samplers
from scorejax.experiment import config as configs
from scorejax.experiment import inputs, steering
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.evaluation import draw, imputation, normalized, restoration, sweep, variances
from scorejax.experiment.evaluation.density import LogProb, compiled_log_density, with_error
from scorejax.experiment.evaluation.subject import BITS, Subject
from scorejax.experiment.inputs import Condition
from scorejax.experiment.model import TO_DRAW, Model, any_of
from scorejax.experiment.trained import Trained, restore
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError
from scorejax.scores.predictions import Score
from scorejax.sdes import SDE

Guidance: TypeAlias = str | Callable[[Score], Score]
"""Guidance as the shell names it, such as "classifier_free:scale=2", or a function of the score."""


def load(workdir: str | Path) -> Run:
    """Return the trained model in the folder of a run, with the averaged weights of its newest whole checkpoint.

    Raises:
        ConfigError: no such folder, no run in it, or one of an older version.
        CheckpointError: no checkpoint that can be read.
    """
    folder = Path(workdir).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {str(folder)!r}; give the --workdir of a run that was trained")
    config = workdir_lib.saved_config(folder)
    section = getattr(config.recipe.find(), "section", None)
    if section is not None:
        raise ConfigError(f"{folder} holds a {section} that was trained next to a model; load the run of the model")
    return Run(restore(config, folder), folder)


class Run:
    """A trained model. What its kind of training does not give is refused in one line by the method that needs it.

    Attributes:
        workdir: its folder.
        config: its settings.
        step: of the checkpoint.
        model: its capabilities, functions of model space.
        form: of its data.
        space: the mapping between the user's units and model space.
        shape: of one example.
    """

    def __init__(self, trained: Trained, workdir: str | Path) -> None:
        """Keep what was restored; see `load`."""
        self._trained, self.workdir = trained, Path(workdir)
        self.config, self.step, self.model = trained.config, trained.step, trained.model
        self.form, self.space, self.shape = trained.form, trained.space, trained.form.shape
        self._drawing: dict[str, Callable[..., dict[str, Array]]] = {}

    def __repr__(self) -> str:
        return f"<run of {self.form.name} at step {self.step} in {self.workdir}: {', '.join(self.model.can())}>"

    @property
    def sde(self) -> SDE:
        """Its forward process; refused for a model that has none."""
        return self._trained.sde

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of its data; their numbers where they have no names."""
        return self.form.label_names or tuple(map(str, range(self.form.num_classes)))

    def to_model(self, x: ArrayLike) -> Array:
        """Return examples `[B, ...]` in model space: levels at the middle of their bin, floating numbers normalized."""
        return self.space.middle(inputs.sent(self.form, self.space, x))

    def from_model(self, x: ArrayLike) -> Array:
        """Return points of model space `[B, ...]` in the user's units: gray levels, or vectors."""
        return inputs.in_units(self.space, jnp.asarray(x))

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        condition: Condition | None = None,
        guidance: Guidance | None = None,
        stepper: str | None = None,
        steps: int | None = None,
        batch: int = 256,
    ) -> np.ndarray:
        """Draw samples, gray levels uint8 `[n, H, W, C]` or numbers of any kind, in the units and type of the data.

        Sample `i` depends on its number and the seed, and on neither `n` nor `batch`; `--mode=sample` with
        `--config.eval.seed=SEED` draws the same.

        Args:
            n: how many.
            seed: of the noise.
            condition: what samples are wanted of, in turn; unset: of each class in turn, if the model knows classes.
            guidance: see `Guidance`; unset: as the run's settings say.
            stepper: as the shell names it, such as "dpm_solver:order=2:time_grid=log_snr"; unset: the run's sampler.
            steps: of its time grid.
            batch: how many are drawn at once.

        Raises:
            ValueError: fewer than one sample, a condition that the model lacks, or settings that do not fit.
        """
        if n < 1 or batch < 1:
            raise ValueError(f"n = {n} samples in batches of {batch} were asked for; both must be at least 1")
        self._need("sample", *TO_DRAW)
        subject = self._subject(seed, condition, guidance, stepper, steps)
        fn, held = draw.batch_function(subject)
        # the same function again, so that nothing is compiled twice: it depends on the sampler alone
        fn = self._drawing.setdefault(json.dumps(configs.to_dict(subject.config)["sampler"]), fn)
        batches = parallel.map_batches(fn, held, stop=n, batch_size=min(batch, n))
        return np.concatenate([rows["x"] for *_, rows in draw.in_units(self.space, batches)])

    def impute(self, x: ArrayLike, **how: Any) -> np.ndarray:
        """Return examples `[B, ...]` whose NaN are drawn given the rest; see `evaluation.imputation.imputed`."""
        self._need("impute", "score")
        return imputation.imputed(self._trained, np.asarray(x), **how)

    def restore(self, x: ArrayLike, *, batch: int = 256, **how: Any) -> np.ndarray:
        """Return images `[B, H, W, C]` freed of the degradation that the model was trained to undo, gray levels uint8.

        As `--mode=sample --config.guidance=undo:measured=true` does.

        Args:
            x: degraded images, gray levels.
            batch: how many are restored at once.
            **how: `level` at which they are (unset: the last), `seed`, `stepper` and `steps` as of `sample`.

        Raises:
            ValueError: images of another shape, type or range, or a model that restores nothing.
        """
        self._need("restore", "restore")
        return restoration.undone(self._trained, np.asarray(inputs.examples(self.form, x)), batch=batch, **how)

    def _subject(
        self,
        seed: int, condition: Condition | None, guidance: Guidance | None, stepper: str | None, steps: int | None,
    ) -> Subject:  # fmt: skip
        """The model as `--mode=sample` would draw of it, with these settings."""
        own = configs.copy(self.config)
        own.eval.seed = seed
        if self.model.sample is not None:
            given: dict[str, object] = {"condition": condition, "guidance": guidance}
            if self.model.sde is None:
                given |= {"stepper": stepper, "steps": steps}
            if asked := [name for name, value in given.items() if value is not None]:
                raise ValueError(f"this model draws samples in its own way and takes no {', '.join(asked)}")
            if stepper is None and steps is None:
                return Subject(self._trained, own_config=own)
        if stepper is not None:
            own = sweep.with_sampler(own, stepper, own.sampler.steps if steps is None else steps, "stepper")
        elif steps is not None:
            own.sampler.steps = steps
        if isinstance(guidance, str):
            own.guidance = guidance
        steering.refuse_images(own)
        wanted = inputs.wanted(self.form, self.model, condition)
        classes = steering.classes(own, self._trained, wanted)
        if wanted is not None and not self.model.conditional and classes.logits is None:
            raise ValueError("this model takes no condition: train one with recipe.conditional=true, or leave it out")
        if callable(guidance):
            classes = classes.followed_by(guidance)
        return variances.with_fitted(Subject(self._trained, classes=classes, own_config=own), self.workdir)

    def log_prob(
        self,
        x: ArrayLike,
        *,
        seed: int = 0,
        condition: Condition | None = None,
        passes: int | None = None,
        batch: int = 256,
        **solver: Any,
    ) -> LogProb:
        """Return log-likelihoods in the user's units, as an evaluation measures them with uniform dequantization.

        Differentiable in vectors `x`. Of an energy it takes the partition function that its evaluation has left in the
        folder, whose standard error is part of that of every value.

        Args:
            x: examples `[B, ...]`: integer gray levels, or vectors.
            seed: of what is drawn, as `eval.seed`; example `i` draws by its number.
            condition: one for all examples, or one for each; unset: none, of a model that was trained with none too.
            passes: dequantizations of each image; unset: `eval.likelihood_passes`, and at least 2 for the sake of the
                standard error.
            batch: examples at a time; traced ones are taken at once.
            **solver: of `scorejax.log_prob`: `divergence`, `probes`, `rtol`, `atol` (unset: as section `eval` says, but
                at least 2 probes of vectors, for the same reason) ...

        Raises:
            ValueError: examples of another shape, type or range, a condition that the model lacks, or an energy whose
                partition function was not estimated.
        """
        self._need("log_prob", "log_prob", "score", "energy")
        model, of_log_z = self._normalized
        raw, c = inputs.sent(self.form, self.space, x), self.config.eval
        given = self._given(condition, len(raw))
        probes = c.probes if self.form.levels else max(2, c.probes)
        settings = {name: c[name] for name in ("divergence", "rtol", "atol")} | {"probes": probes} | solver
        passes = max(2, c.likelihood_passes) if passes is None else passes
        fixed: dict[str, Any] = {"space": self.space, "passes": passes, "solver": tuple(sorted(settings.items()))}
        keys = keys_lib.per_example(jax.random.fold_in(jax.random.key(seed), BITS), len(raw))
        if not doors.known(raw):
            return with_error(compiled_log_density(model, keys, raw, given, **fixed), of_log_z)
        found = []
        for index, own in data.eval_batches(len(raw), min(batch, len(raw))):  # of one shape, compiled once
            part = None if given is None else given[index]
            density = compiled_log_density(model, keys[index], raw[index], part, **fixed)
            found.append(jax.tree.map(lambda leaf, own=own: leaf[own], density))
        return with_error(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found), of_log_z)

    @functools.cached_property
    def _normalized(self) -> tuple[Model, float]:
        """The model with a density, and the standard error of its partition function, in nats."""
        if self.model.log_prob is not None or self.model.energy is None:
            return self.model, 0.0
        estimate = normalized.kept(Subject(self._trained), self.workdir)
        return normalized.with_log_z(self.model, jnp.float32(estimate.log_z)), estimate.stderr

    def energy(self, x: ArrayLike) -> Array:
        """Return `E(x)` in nats, `[B]`, at points of model space; a ValueError says that the model has none."""
        if self.model.energy is None:
            raise ValueError(self._lacks("energy", "an energy"))
        return self.model.energy(inputs.points(self.form, x))

    def score(self, x: ArrayLike, t: ArrayLike | None = None, condition: Condition | None = None) -> Array:
        """Return `grad log p_t` at points `x [B, ...]` of model space, see `to_model`, at times `t`, one or `[B]`.

        Raises:
            ValueError: points of another shape, a condition that the model lacks, or a model without a score.
        """
        if self.model.score is None:
            raise ValueError(self._lacks("score", "a score"))
        x = inputs.points(self.form, x)
        times = jnp.broadcast_to(jnp.asarray(self._cleanest() if t is None else t, x.dtype), x.shape[:1])
        return self.model.score_given(self._given(condition, len(x)))(x, times)

    def encode(self, x: ArrayLike, *, condition: Condition | None = None, **solver: Any) -> Array:
        """Return the latents of examples, at the end of the probability-flow ODE; options as of `scorejax.encode`."""
        self._need("encode", "score")
        x = self.to_model(x)
        return samplers.encode(self.sde, self.model.score_given(self._given(condition, len(x))), x, **solver).x

    def decode(self, latent: ArrayLike, *, condition: Condition | None = None, **solver: Any) -> Array:
        """Return the examples of latents, in the user's units: the inverse of `encode`."""
        self._need("decode", "score")
        z = inputs.points(self.form, latent)
        found = samplers.decode(self.sde, self.model.score_given(self._given(condition, len(z))), z, **solver)
        return inputs.in_units(self.space, found.x)

    def logits(self, x: ArrayLike) -> Array:
        """Return what a classifier makes of clean examples in the user's units, `[B, K]`, up to a constant."""
        if self.model.logits is None:
            raise ValueError(self._lacks("logits", "logits"))
        x = self.to_model(x)
        return self.model.logits(x, jnp.full(len(x), self._cleanest()))

    def _cleanest(self) -> float:
        return 0.0 if self.model.sde is None else float(self.model.sde.t_min)

    def _given(self, condition: Condition | None, count: int) -> Array | None:
        return inputs.condition_of_each(self.form, self.model, condition, count)

    def _need(self, what: str, *capabilities: str) -> None:
        if not self.model.offers(*capabilities):
            raise ValueError(self._lacks(what, any_of(capabilities)))

    def _lacks(self, what: str, needed: str) -> str:
        if self.model.score is not None and not self.model.offers("score"):
            needed = needed.replace("score", "score that is a function of point and time")
        can = self.model.described() or "nothing of this kind"
        return f"{what} needs {needed}; recipe {self.config.recipe.name!r} makes a model with {can}"
