"""What the library costs beyond the network: ratios of times measured side by side in one run.

    python benchmarks/ratios.py --config=configs/vp_digits.py [--batch=128] [--steps 50 1000] [--only sample ...]

Prints a Markdown section for docs/benchmarks.md. Each figure is the median over rounds of a ratio whose two parts
alternate, so that a machine's slow moments hit both.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax
import jax.numpy as jnp
import numpy as np
import optax

import scorejax as sj
from scorejax import data, models, reverse
from scorejax.experiment import assemble, config
from scorejax.experiment.recipe import Batch, make_recipe
from scorejax.experiment.training import train
from scorejax.experiment.training.state import repeat
from scorejax.numerics import keys
from scorejax.reverse import gamma, variance
from scorejax.runtime import parallel
from scorejax.scores import predictions

Row = tuple[str, float, float | None, str]  # what, measured, at most, remark


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start


def ratio(work: Callable[[], Any], unit: Callable[[], Any], units: float, rounds: int) -> tuple[float, float]:
    """Median of `work / (units x unit)` over rounds, and the median seconds of one unit; both run once before."""
    seconds(work), seconds(unit)
    pairs = []
    for _ in range(rounds):
        before, middle, after = seconds(unit), seconds(work), seconds(unit)
        pairs.append((middle / (units * (before + after) / 2), (before + after) / 2))
    return statistics.median(r for r, _ in pairs), statistics.median(u for _, u in pairs)


class Setting:
    """A network of the given config with fresh weights, and a batch of its data."""

    def __init__(self, run: config.Config) -> None:
        self.config = run
        self.train = assemble.dataset(run)
        self.recipe = make_recipe(run, self.train)
        params = jax.jit(self.recipe.init)(jax.random.key(0))
        # The last layer starts at zero, which would make every ODE trivial: a little of everything instead.
        leaves, tree = jax.tree.flatten(params)
        noise = [0.02 * jax.random.normal(jax.random.key(i), leaf.shape) for i, leaf in enumerate(leaves)]
        self.params = jax.tree.map(jnp.add, params, tree.unflatten(noise))
        model = self.recipe.model(self.params)
        if model.sde is None or model.score is None:
            raise SystemExit(f"the ratios are of scores; recipe {run.recipe.name!r} makes none")
        self.sde, self.score, self.layer = model.sde, model.score_given(None), model.feature_layer
        self.shape = (run.train.batch, *self.train.shape)
        self.x = jax.random.normal(jax.random.key(1), self.shape)
        self.t = jnp.full(run.train.batch, 0.5)


def sampling(setting: Setting, steps: list[int], rounds: int) -> Iterator[Row]:
    """`sample` against as many bare network evaluations."""
    for n in steps:
        bound = 1.05 if jax.default_backend() == "cpu" else 1.02
        grid = sj.times.uniform(setting.sde, n)
        yield _sampler(setting, "`sample`", lambda score: sj.samplers.euler_maruyama(), grid, bound, rounds)


def solving(setting: Setting, steps: list[int], rounds: int) -> Iterator[Row]:
    """Fast solvers and reverse chains against as many bare evaluations: their own arithmetic, and that of a head."""
    sde, examples = setting.sde, setting.train
    known = gamma.grid(sde)
    statistic = gamma.Gamma.of(sde, known, np.full((1, len(known)), 0.5))
    images = len(examples.shape) == 3
    layer = setting.layer
    module = models.ImageHead(examples.shape[-1], layer=layer) if images else models.VectorHead()
    params = models.init_head(jax.random.key(2), sde, setting.score, module, examples.shape)

    def npr(score: predictions.Score) -> variance.VarianceHead:
        return variance.NoiseResidual(models.head_on(sde, score, module, params))

    for n in steps:
        grid = sj.times.log_snr(sde, n)
        for name, stepper in {
            "DPM-Solver++ 2M": lambda score: sj.samplers.dpm_solver(2),
            "UniPC 3": lambda score: sj.samplers.unipc(3),
            "Analytic-DPM": lambda score, grid=grid: sj.samplers.analytic(sde, grid, statistic),
            # its head is made inside the compiled program, where the network then runs once for both
            "NPR-DPM": lambda score, grid=grid: sj.samplers.reverse_chain(
                reverse.chain(sde, grid, variance=npr(score))
            ),
        }.items():
            yield _sampler(setting, name, stepper, grid, 1.05, rounds)


def _sampler(
    setting: Setting,
    name: str,
    stepper: Callable[[predictions.Score], sj.samplers.Stepper],
    grid: jax.Array,
    bound: float,
    rounds: int,
) -> Row:
    """A sampler without its last denoising against bare evaluations, each a compiled call of its own."""
    evaluate = jax.jit(lambda score, x, t: score(x, t))

    @jax.jit
    def draw(score: predictions.Score) -> jax.Array:
        return sj.sample(
            jax.random.key(0), setting.sde, score, setting.shape, stepper=stepper(score), times=grid, denoise=False
        ).x

    n = len(grid) - 1
    calls = min(n, 20)

    def unit() -> Any:
        x = setting.x
        for _ in range(calls):
            x = evaluate(setting.score, x, setting.t)
        return x

    value, cost = ratio(lambda: draw(setting.score), unit, n / calls, rounds)
    return f"{name}, {n} steps / {n} evaluations", value, bound, f"{1e3 * cost / calls:.1f} ms an evaluation"


def likelihood(setting: Setting, rounds: int) -> Iterator[Row]:
    """`log_prob` against its own count of (score, Jacobian-vector product) evaluations of the batch."""
    pair = jax.jit(lambda score, x, t, v: jax.jvp(lambda y: score(y, t), (x,), (v,)))
    x0 = 0.5 * setting.x

    def work() -> Any:
        return sj.log_prob(jax.random.key(0), setting.sde, setting.score, x0, rtol=1e-4, atol=1e-4)

    result = work()
    assert bool(jnp.all(result.ok)), "the ODE of the untrained network was not solved"
    # All examples of a batch are computed until the slowest has arrived.
    count = int(result.nfe.max())
    value, cost = ratio(work, lambda: pair(setting.score, x0, setting.t, setting.x), count, rounds)
    yield f"`log_prob` / {count} counted (score, jvp)", value, 1.10, f"{1e3 * cost:.1f} ms a pair"


def training(setting: Setting, rounds: int, calls: int = 10) -> Iterator[Row]:
    """The loop of `train` (data, logging of the call before) against its bare compiled gradient step."""
    run = setting.config
    optimizer = assemble.optimizer(run)
    count = assemble.steps_per_call(run, convolutions=setting.recipe.has_convolutions)
    feeder = data.feed(
        setting.train, run.train.batch, 0, parts=jax.device_count(),
        local=parallel.local_parts(), sharding=parallel.replicated(),
    )  # fmt: skip
    step = train.make_update(setting.recipe, optimizer, feeder)
    chunk = parallel.train_map(repeat(step, count), feeder.payload_axis)
    make = jax.jit(lambda key: train.init_state(setting.recipe, optimizer, key))
    state = parallel.replicate(make(jax.random.key(0)))
    at = 0

    def loop() -> Any:
        nonlocal state, at
        before = None
        for _ in range(calls):
            state, metrics = chunk(state, feeder.payload(at, count))
            at += count
            if before is not None:
                float(np.mean(before["loss"]))
            before = metrics
        return before

    bare, bare_state, batch = _bare_step(setting, optimizer, count)

    def unit() -> Any:
        nonlocal bare_state
        for _ in range(calls):
            bare_state, loss = bare(bare_state, batch)
        return loss

    value, cost = ratio(loop, unit, 1, rounds)
    per_step = 1e3 * cost / calls / count
    rate = run.train.batch / per_step * 1e3
    yield "train loop / bare gradient step", value, 1.05, f"{per_step:.1f} ms a step, {rate:.0f} examples/s"


def _bare_step(setting: Setting, optimizer: optax.GradientTransformation, count: int) -> tuple[Any, Any, Any]:
    """Loss, gradient, Adam and average on one ready batch: what anybody's training step has to do."""
    size, labels = setting.config.train.batch, setting.train.labels
    each = keys.per_example(jax.random.key(3), size)
    raw, x0 = data.prepare(each, jnp.asarray(setting.train.examples[:size]), setting.train.gray_levels)
    labels = None if labels is None else jnp.asarray(labels[:size])
    ready = Batch(x0, raw, labels, jnp.int32(0), jax.random.key(5), jax.random.key(4), jnp.int32(0), 1)

    def once(state: Any, batch: Any) -> tuple[Any, Any]:
        params, ema, opt_state = state

        def loss(params: Any) -> Any:
            whole = ready._replace(x=batch[0])  # an argument, or the compiler would compute with it beforehand
            return jnp.mean(setting.recipe.loss(params, None, whole, batch[1])[0])

        value, gradient = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        ema = jax.tree.map(lambda old, new: old + 0.001 * (new - old), ema, params)
        return (params, ema, opt_state), value

    def several(state: Any, batch: Any) -> tuple[Any, Any]:
        return jax.lax.scan(lambda s, _: once(s, batch), state, length=count)

    params = setting.params
    state = (params, jax.tree.map(jnp.copy, params), optimizer.init(params))
    return jax.jit(once if count == 1 else several, donate_argnums=0), jax.tree.map(jnp.copy, state), (x0, each)


def importing(rounds: int) -> Iterator[Row]:
    """Seconds that `import scorejax` adds to `import jax`, in fresh processes."""

    def start(line: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", line], check=True, cwd=Path(__file__).parent.parent)
        return time.perf_counter() - began

    start("import jax, scorejax")
    added = statistics.median(start("import jax, scorejax") - start("import jax") for _ in range(rounds))
    yield "`import scorejax` beyond `import jax`, seconds", added, 0.3, ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/vp_digits.py")
    parser.add_argument("--batch", type=int, default=0, help="examples per batch; default: the config's")
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 1000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=("sample", "solvers", "log_prob", "train", "import"), default=None)
    args = parser.parse_args()
    run = config.load(args.config)
    run.train.batch = args.batch or run.train.batch

    setting = Setting(run)
    parts = {
        "sample": lambda: sampling(setting, args.steps, args.rounds),
        "solvers": lambda: solving(setting, args.steps, args.rounds),
        "log_prob": lambda: likelihood(setting, args.rounds),
        "train": lambda: training(setting, args.rounds),
        "import": lambda: importing(args.rounds),
    }
    device, size = jax.devices()[0].device_kind, sum(p.size for p in jax.tree.leaves(setting.params))
    print(f"### {device}, {os.cpu_count()} cores, jax {jax.__version__}, Python {platform.python_version()}\n")
    print(f"`python {' '.join(sys.argv)}`\n\n{size:,} parameters, batch {run.train.batch}.\n")
    print("| ratio | measured | bound | |\n|---|---|---|---|")
    for name, part in parts.items():
        if args.only is None or name in args.only:
            for what, value, bound, remark in part():
                print(f"| {what} | {value:.3f} | {bound:.2f} | {remark} |", flush=True)


if __name__ == "__main__":
    main()
