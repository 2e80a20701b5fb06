"""The network and the forward process of a config."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax import models
from scorejax.data import Form
from scorejax.experiment.config import Config, takes
from scorejax.numerics.trees import PyTree
from scorejax.runtime.errors import ConfigError, in_one_line, user_errors
from scorejax.sdes import SDE, LinearSDE, check_process
from scorejax.sdes.corruption import Corruption, check_kind
from scorejax.sdes.discrete import SMLD


def sde(config: Config) -> SDE:
    """The forward process of section `sde`; a learned one as it is before training."""
    made = config.sde.make()
    if ":" in config.sde.name and isinstance(made, LinearSDE):  # of the user's own
        with user_errors("section sde"):
            check_process(made)
    return made


def gaussian(process: Corruption, what: str) -> LinearSDE:
    """The process as one with `alpha_t` and `sigma_t`, for what needs them.

    Raises:
        ConfigError: it is another one.
    """
    with user_errors("section sde"):
        return check_kind(process, LinearSDE, what)


def check_network(config: Config, role: str) -> None:
    """Refuse a network that is made for something else; `role` is what it maps, see `models.NETWORKS`.

    Raises:
        ConfigError: it is.
    """
    own = getattr(config.model.find(), "role", role)
    if own != role:
        fitting = [name for name, kind in models.NETWORKS.items() if getattr(kind, "role", role) == role]
        raise ConfigError(
            f"model = {config.model.name!r} is made for {own}, recipe {config.recipe.name!r} needs one for {role}; "
            f"choose one of {', '.join(fitting)}"
        )


def network(
    config: Config,
    form: Form,
    role: str,
    process: SDE | None = None,
    **supplied: object,
) -> nn.Module:
    """The network of section `model`, for this data.

    Args:
        config: the run's.
        form: of the data.
        role: what the recipe needs a network for.
        process: the forward process, for networks that know the noise by its level.
        supplied: fields that the recipe fills in, if the network has them.

    Raises:
        ConfigError: the network is for other data, or for something else.
    """
    check_network(config, role)
    kind = config.model.find()
    rank = len(form.shape)
    if rank not in getattr(kind, "ranks", (rank,)):
        fitting = [
            name
            for name, other in models.NETWORKS.items()
            if rank in getattr(other, "ranks", (rank,)) and getattr(other, "role", role) == role
        ]
        raise ConfigError(
            f"model = {config.model.name!r} does not fit data = {config.data.name!r}, whose examples have shape "
            f"{form.shape}; choose one of {', '.join(fitting)}"
        )
    if rank > 1:
        # what is not seen as gray levels has no interval to be brought to another one
        as_gray = form.gray_levels is not None and config.data.normalize in ("auto", "none")
        supplied |= {"centered_input": config.data.centered or not as_gray} if "centered_input" in takes(kind) else {}
        check_attention(config, form)
    supplied |= _noise_levels(process, kind) if process is not None else {}
    given: dict[str, Any] = {
        name: supplied[name] for name in ("num_classes", "condition", "condition_dim") if name in supplied
    }
    made = config.model.make(example_shape=form.shape, conditions=_conditions(given), **supplied)
    return made if isinstance(made, nn.Module) else models.OwnNetwork(made, **given)


def _conditions(given: Mapping[str, object]) -> dict[str, object]:
    """What a network is conditioned on: `{"label": classes}`, `{"vector": length}`, `{"sequence": length}` or `{}`."""
    if given.get("num_classes") is not None:
        return {"label": given["num_classes"]}
    return {} if given.get("condition_dim") is None else {str(given["condition"]): given["condition_dim"]}


def check_own(config: Config, module: nn.Module, shape: tuple[int, ...]) -> None:
    """Try a network of scores of the user's own on two examples; those of the package are tested.

    Raises:
        ConfigError: it fails, its output has another shape, or it mixes the rows of a batch.
    """
    name = config.model.name
    if ":" not in name:
        return
    try:
        models.check_outputs(module, shape)
    except ValueError as error:
        raise ConfigError(f"model = {name!r}: {error}") from error
    except Exception as error:  # whatever code of the user's own raises
        raise ConfigError(f"model = {name!r} fails on two examples of shape {shape}: {in_one_line(error)}") from error


def check_attention(config: Config, form: Form) -> None:
    """Refuse sizes that attention is asked for at, and that no level of the network has.

    Raises:
        ConfigError: there is one.
    """
    asked = config.model.own().get("attention_resolutions", ())  # what was set; a default need not fit every image
    if not asked:
        return
    sizes = models.level_sizes(form.shape, len(config.model.channel_multipliers))
    if missing := [size for size in asked if size not in sizes]:
        raise ConfigError(
            f"model.attention_resolutions = {asked}: no level of the network is {', '.join(map(str, missing))} pixels "
            f"wide; of these images they are {', '.join(map(str, sorted(sizes, reverse=True)))}"
        )


def condition(config: Config, form: Form) -> dict[str, object]:
    """What a conditional network is given: the number of classes, or the length of embeddings.

    Raises:
        ConfigError: the data have no labels, or the network takes no condition.
    """
    if not form.labeled:
        raise ConfigError(f"recipe.conditional needs class labels or embeddings; {config.data.name!r} has none")
    if form.embedding is None:
        _check_conditioning(config, form, "label", "class labels")
        return {"num_classes": form.num_classes}
    kind = "sequence" if len(form.embedding) == 2 else "vector"
    _check_conditioning(config, form, kind, f"a {kind} as a condition")
    return {"condition": kind, "condition_dim": form.embedding[-1]}


def of_scores(
    config: Config, form: Form, process: SDE, *, conditional: bool, self_conditioned: bool, **more: object
) -> nn.Module:
    """The network of scores of a config, given labels if conditional, and which numbers are missing where some are.

    Raises:
        ConfigError: it does not fit the data, or settings do not go with missing numbers.
    """
    around = models.SelfConditioned if self_conditioned else None
    if form.missing:
        check_missing(config, process)
        if self_conditioned:
            raise ConfigError(
                "recipe.self_conditioning estimates whole examples; set recipe.self_conditioning=0, or leave "
                "data.missing unset"
            )
        around = models.Observed
    if around is not None:
        form = dataclasses.replace(form, shape=(*form.shape[:-1], 2 * form.shape[-1]))
    made = (
        with_labels(config, form, process, **more) if conditional else network(config, form, "scores", process, **more)
    )
    return made if around is None else around(made)


def check_missing(config: Config, process: SDE) -> None:
    """Refuse what does not go with missing numbers: all but the denoising of each number by itself.

    Raises:
        ConfigError: there is something.
    """
    if config.objective.name != "denoising":
        raise ConfigError(f"objective = {config.objective.name!r} counts what is missing; set objective = 'denoising'")
    if gaussian(process, "data.missing").by_modes:
        raise ConfigError(f"sde = {config.sde.name!r} mixes what is known with what is missing; set sde = 'vp' or 've'")
    c = config.eval
    for key, value in (("bound", c.bound), ("denoising", c.denoising), ("elbo", c.elbo), ("mixture", c.mixture)):
        if value:
            raise ConfigError(f"eval.{key} = {value} is of examples without missing numbers; set eval.{key}=0")
    if "augment" in config.recipe and config.recipe.augment.name != "none":
        raise ConfigError("recipe.augment moves what is missing; set recipe.augment=none, or leave data.missing unset")
    if config.train.validate_every:
        raise ConfigError("train.validate_every is of examples without missing numbers; set train.validate_every=0")


def with_labels(config: Config, form: Form, process: SDE, **more: object) -> nn.Module:
    """The network of scores of a config, given what the data are labeled with, and `more` if it has such fields.

    Raises:
        ConfigError: the data have no labels, or the network does not take their kind.
    """
    if {each.kind for each in form.conditions} <= {"scalar", "vector"}:
        return network(config, form, "scores", process, **condition(config, form), **more)
    with user_errors("recipe.conditional"):
        supplied = models.condition_inside(form.conditions)
    if supplied:
        needed = str(supplied["condition"])
        _check_conditioning(config, form, needed, f"the conditions {', '.join(map(str, form.conditions))}")
    *sides, channels = form.shape
    wide = dataclasses.replace(form, shape=(*sides, channels + models.field_channels(form.conditions)))
    return models.Several(network(config, wide, "scores", process, **supplied), form.conditions)


def _check_conditioning(config: Config, form: Form, kind: str, what: str) -> None:
    """Refuse a network that takes no such condition."""
    taken = _conditioning(config.model.find())
    if kind in taken:
        return
    rank = len(form.shape)
    fitting = [
        name
        for name, each in models.NETWORKS.items()
        if getattr(each, "role", "scores") == "scores"
        and rank in getattr(each, "ranks", (rank,))
        and kind in _conditioning(each)
    ]
    why = f"does not take {what}" if taken else "takes no conditions"
    raise ConfigError(
        f"model = {config.model.name!r} {why}; for data = {config.data.name!r}, whose examples have shape "
        f"{form.shape}, choose {', '.join(fitting) or 'another condition: no network takes this one'}"
    )


def _conditioning(kind: Any) -> tuple[str, ...]:
    """What a network can be conditioned on."""
    if not {"condition", "conditions"} & takes(kind):
        return ()
    return getattr(kind, "conditioning", models.CONDITIONS)


def init_params(key: jax.Array, module: nn.Module, shape: tuple[int, ...]) -> PyTree:
    """Initial parameters of a network `(x, noise_label[, condition])` for examples of the given shape."""
    none = models.no_condition(module)
    return module.init(key, jnp.zeros((1, *shape)), jnp.ones(1), *(() if none is None else (none,)))["params"]


def _noise_levels(process: SDE, kind: type[nn.Module]) -> dict[str, object]:
    """What labels a process has, and the sigma behind each of an SMLD chain, for networks that need to know them."""
    fields, known = takes(kind), {}
    if "num_levels" in fields and not isinstance(process, SMLD):
        raise ConfigError(f"model = {kind.__name__.lower()!r} knows noise by its level; set sde = 'smld'")
    with jax.ensure_compile_time_eval():  # a network may be made for the first time inside a traced function
        if "label_range" in fields:
            known["label_range"] = tuple(float(process.label(jnp.float32(t))) for t in (process.t_min, process.t_max))
        if isinstance(process, SMLD):
            first, last = (float(process.sigma(jnp.float32(t))) for t in (process.t_max, process.t_min))
            known |= {"noise_levels": (first, last, process.levels), "num_levels": process.levels}
    return {name: value for name, value in known.items() if name in fields}
