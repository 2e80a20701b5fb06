"""Three hundred senseless commands, one process: each is refused in one line that names what is wrong, at once.

Nothing trains: what would run is replaced by the checks that come before it, and these may read no data. What
is senseless is listed here once more, apart from the ranges of the settings.
"""

import random
import signal

import pytest

from scorejax import __main__ as shell
from scorejax.experiment import checks, modes, workdir
from scorejax.experiment import config as configs
from scorejax.experiment.config import Config
from scorejax.runtime import errors
from scorejax.runtime.errors import ConfigError

CASES = 300
CONFIGS = ("vp_moons:tiny", "vp_digits:tiny", "ncsnv2:tiny", "classifier:tiny", "flow:tiny", "vp_cifar10:ncsnpp,tiny")

# Nobody can mean these, whichever setting takes a number.
NO_NUMBERS = ("nan", "-nan", "", " ", "1e400", "-1e400", "one", "1,5", "0x10", "--1", "1e", "\u0661\u00bd",
              "\U0001f600", "(1,2", "[[[[", "None3", "1;2", "True", "9" * 5000, "{1:2}", "_import('os')")  # fmt: skip
WHOLE = ("1.5", "1e-3", "inf", "1e20", "99999999999999999999")
POSITIVE = ("0", "-1", "-inf", "inf")
NATURAL = ("-1", "-2147483649", "0.5")
SHARE = ("-0.5", "1.5", "-1e-9")
SENSELESS = {
    **dict.fromkeys(
        ("train.steps", "train.batch", "train.log_every", "train.checkpoint_every", "train.keep", "eval.batch"),
        (*NO_NUMBERS, *WHOLE, *NATURAL, "0"),
    ),
    **dict.fromkeys(
        ("seed", "eval.seed", "optim.warmup", "train.steps_per_call", "train.keep_every", "train.preview_every",
         "data.resident_mib", "eval.likelihood_examples", "eval.bound", "eval.elbo", "eval.baseline_examples",
         "eval.samples", "eval.reference_examples", "eval.calibration_examples", "eval.classifier_examples",
         "sweep.bits", "head.warmup", "dequantizer.blocks"),
        (*NO_NUMBERS, *WHOLE, *NATURAL),
    ),
    **dict.fromkeys(
        ("data.size", "data.crop", "eval.likelihood_passes", "eval.probes", "eval.grid", "sampler.steps", "head.steps",
         "head.batch", "dequantizer.heads", "dequantizer.flows"),
        (*NO_NUMBERS, *WHOLE, *NATURAL, "0"),
    ),
    **dict.fromkeys(("optim.lr", "eval.rtol", "eval.atol", "head.lr", "dequantizer.lr"), (*NO_NUMBERS, *POSITIVE)),
    **dict.fromkeys(("optim.eps", "optim.weight_decay", "optim.clip", "head.clip"), (*NO_NUMBERS, "-1", "-inf", "inf")),
    **dict.fromkeys(("ema.decay", "optim.beta1", "optim.beta2", "head.ema_decay"), (*NO_NUMBERS, *SHARE, "1", "2")),
    **dict.fromkeys(
        ("optim.decay", "optim.name", "objective.time_sampling", "eval.divergence", "eval.dequantization",
         "eval.elbo_time_grid", "eval.elbo_variance"),
        ("foo", "", "COSINE", "adamm", "none ", "\u017f", "1"),
    ),
    **dict.fromkeys(("data.flip", "data.centered", "ema.warmup", "eval.exact", "sampler.denoise"),
                    ("maybe", "2", "", "nan", "yess", "-1")),
    **dict.fromkeys(("sweep.steps", "data.classes"),
                    ("()", "", "('a',)", "(0.5,)", "(-1,)", "(nan,)", "((1,),)", "(1,")),
    **dict.fromkeys(("eval.metrics", "sweep.samplers"), ("()", "", ",", "(,)")),
    "eval.metrics": ("", "()", "nosuch", "frechet,nosuch", "kid:block=0", "kid:nosuch=1", "precision_recall:0"),
    **dict.fromkeys(("sde", "recipe", "model", "objective", "sampler.stepper", "sampler.time_grid", "sampler.corrector",
                     "guidance", "eval.features", "head"),
                    ("", "nosuch", "vpp:", "nosuch:x=1", "no.such:thing", "../etc:passwd", "\u00e9t\u00e9", "a:b:c:d")),
    "sde=vp": ("beta_max=-1", "beta_max=nan", "t_min=-1", "t_min=inf", "beta_max=", "beta=3", ":", "t_max=0"),
    "sde=ve": ("sigma_min=0", "sigma_max=-50", "sigma_max=nan", "t_min=x", "sigma_min=1:sigma_min=2"),
    "sampler.stepper=ddim": ("eta=2", "eta=-1", "eta=nan", "clip=0", "order=3", "eta"),
    "sampler.stepper=dpm_solver": ("order=0", "order=4", "order=1.5", "kind=foo", "prediction=foo", "third=2",
                                   "solver_type=", "thresholding=0", "thresholding=nan"),
    "sampler.corrector=langevin": ("snr=0", "snr=-1", "snr=nan", "steps=0", "norm=foo"),
    "guidance=classifier_free": ("scale=nan", "scale=inf", "labels=(-1,)", "labels=('a',)", "negative=-1"),
    "model=mlp": ("features=0", "features=-4", "features=3", "depth=0", "dropout=1", "dropout=-.5", "dropout=nan"),
    "model=ddpmpp": ("channel_multipliers=()", "channel_multipliers=(0,1)", "blocks_per_level=-1", "dropout=1",
                     "attention_resolutions=(0,)", "nonlinearity=foo", "embedding=foo", "block=foo", "group_size=0",
                     "fourier_scale=0", "progressive=foo", "fir_kernel=(1,)", "init_scale=nan", "dtype=float16"),
    "model=ncsnv2": ("stages=3", "stages=7", "interpolation=foo", "nonlinearity=foo", "features=0"),
    "model=wide_resnet": ("width=0", "depth=0", "dropout=2", "embedding=foo"),
    "recipe=score": ("sigma_data=0", "predicts=foo", "label_dropout=1", "sigma_data=nan"),
    "head=variance_head": ("kind=foo", "features=0", "depth=-1"),
}  # fmt: skip
KEYS = random.Random(2).sample(sorted(SENSELESS), len(SENSELESS))
FLAGS = ("--mode=trian", "--mode=", "--confg=vp_moons", "--workdirr=x", "stray", "--config.optim", "--config.=1",
         "--config.optim.lr.x=1", "--config..lr=1", "--config.optimizer.lr=1", "--config.sampler.times=uniform",
         "--config.optim=adam", "--config.train.stpes=3", "--config.x\u00fc.y=1")  # fmt: skip
FILES = ("vp_moon", "vp_moons:tinny", "nosuch.py", "README.md", "/", "/dev/null", "vp_moons:tiny,:", "\u00e9")
SENSIBLE = ("optim.lr=1e-3", "train.steps=8", "ema.decay=0", "optim.clip=0", "seed=0", "eval.probes=2", "data.flip=0",
            "optim.decay=cosine", "eval.rtol=1e-3", "train.log_every=4", "data.resident_mib=0")  # fmt: skip


def senseless(draw: random.Random, case: int) -> tuple[str, str]:
    """A flag of the next of the keys, and the word that its message must name."""
    if draw.random() < 0.1:
        flag = draw.choice(FLAGS)
        return flag, flag.removeprefix("--config.").partition("=")[0].removeprefix("--")
    key = KEYS[case % len(KEYS)]
    own = [value for value in SENSELESS[key] if value not in NO_NUMBERS]
    value = draw.choice(own if own and draw.random() < 0.6 else SENSELESS[key])
    if "=" in key:
        return f"--config.{key}:{value}", key.partition("=")[0]
    if draw.random() < 0.1:
        key = key[:-1] + chr(draw.randrange(0x61, 0x7B)) + "_"  # a name that is nearly right
    return f"--config.{key}={value}", key


@pytest.fixture
def run(monkeypatch, capsys):
    """Give a command; return its exit code and what it says of errors. Nothing that it would do is done."""
    monkeypatch.setattr("scorejax.data.load", None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(errors, "show_log", lambda: None)

    def dry(mode: str, config: Config, workdir: object) -> None:
        checks.check(config)
        configs.from_dict(configs.to_dict(config))

    monkeypatch.setattr(modes, "run", dry)
    monkeypatch.setattr(workdir, "saved_config", lambda *_: configs.base())

    def command(*flags: str) -> tuple[int, str]:
        try:
            code = shell.main(list(flags))
        except SystemExit as left:
            code = left.code
        return code, capsys.readouterr().err

    return command


@pytest.mark.slow
def test_no_senseless_command_is_taken_and_each_is_answered_in_one_line_that_names_it(run):
    draw, wrong = random.Random(0), []
    for case in range(CASES):
        flag, named = senseless(draw, case)
        kept = [f"--config.{text}" for text in draw.sample(SENSIBLE, draw.randrange(4))]
        flags = [f"--config={draw.choice(CONFIGS)}", *kept, flag]
        if case % 20 == 0:
            config = draw.choice(FILES)
            flags, named = [f"--config={config}", *kept], config.partition(":")[0]
        code, said = run(*flags)
        one_line = said.startswith("error: ") and said.count("\n") == 1 and "Traceback" not in said
        if not code or not one_line or named not in said:
            wrong.append(f"{flags}: exit {code}: {said[-300:]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_every_senseless_value_is_refused_where_it_is_set():
    taken = []
    for key, values in SENSELESS.items():
        for value in values:
            override = f"{key}:{value}" if "=" in key else f"{key}={value}"
            try:
                configs.override(configs.base(), [override])
                taken.append(override)
            except ConfigError:
                pass
    assert not taken


@pytest.mark.slow
def test_sensible_commands_are_taken(run):
    draw = random.Random(1)
    for _ in range(20):
        flags = [f"--config.{text}" for text in draw.sample(SENSIBLE, 4)]
        assert run(f"--config={draw.choice(CONFIGS)}", *flags) == (0, "")
