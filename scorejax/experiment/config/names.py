"""What a wrong name may have meant: a setting that is called otherwise now, or the nearest of the right ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from scorejax.runtime.errors import ConfigError

# What a setting was called before; used by error messages alone.
RENAMED = {
    "sampler.predictor": "sampler.stepper",
    "sampler.times": "sampler.time_grid",
    "objective.times": "objective.time_sampling",
    "eval.elbo_times": "eval.elbo_time_grid",
    "eval.inception": "eval.features=inception:weights=FILE",
    "dequantizer.times": "dequantizer.times_per_example",
    "objective.label_smoothing": "recipe.label_smoothing",
    **{
        f"guidance.{key}": f"guidance.method.{key}"
        for key in (
            "rounds", "jump", "zeta", "steps", "data_std", "iterations", "tolerance", "clip", "eta", "eta_b",
        )
    },
    **{f"model.{key}": f"recipe.{key}" for key in ("predicts", "sigma_data", "conditional", "label_dropout")},
    **{f"recipe.discriminator_{key}": f"recipe.discriminator.{key}" for key in ("features", "depth")},
    "sampler.corrector_steps": "sampler.corrector.steps",
    "sampler.steps_per_level": "sampler.stepper.steps",
    **{f"sampler.{key}": f"sampler.corrector.{key}" for key in ("snr", "norm")},
    **{
        f"sampler.{key}": f"sampler.stepper.{key}"
        for key in (
            "epsilon", "method", "variance", "probability_flow", "eta", "last_noise", "order",
            "kind", "variant", "prediction", "solver_type", "third", "lower_order_final", "thresholding", "churn",
            "s_min", "s_max", "s_noise", "rtol", "atol",
        )
    },
}  # fmt: skip


class UnknownKey(ConfigError, AttributeError):
    """A key that is not there, whether it is set, read, or read as an attribute."""


_MOST = 3  # names that a message offers


def hint(word: str, known: Iterable[str], meant: Iterable[str] = ()) -> str:
    """A question that follows a message, `; did you mean 'lr'?`; empty if no name is near.

    A dotted key is also near if its last word is the one that was given: `lr` may be `optim.lr`.

    Args:
        word: what was given.
        known: what there is.
        meant: what is known to be near for another reason.
    """
    known = list(known)
    ends = [name for name in known if "." in name and name.rpartition(".")[2] == word.lower()]
    near = difflib.get_close_matches(word.lower(), known, _MOST, cutoff=0.7)
    found = list(dict.fromkeys([*meant, *ends, *near]))[:_MOST]
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def renamed(path: str) -> str | None:
    """The message for a key of an earlier version; None if it was none."""
    return f"config key {path!r} is now called {RENAMED[path]!r}" if path in RENAMED else None
