"""Train a score model, measure it, draw from it; the same command resumes what was stopped:
python main.py --config=configs/X.py[:variant] [--workdir=DIR] [--mode=MODE] [--config.section.key=value]
"""

import argparse
import os
import shlex
import signal
import sys

# Before JAX is imported: what was compiled once is not compiled again, in this run or the next.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.expanduser("~/.cache/scorejax/xla"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's errors, not its remarks

MODES = ("train", "eval", "sample", "sweep", "calibrate", "fid_stats", "train_dequantizer", "train_head")


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Flags, and the overrides `key=value`."""
    parser = argparse.ArgumentParser("main.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", help="config file; eval and sample default to the one saved in --workdir")
    parser.add_argument("--workdir", help="folder of the run; default: runs/, then the config's name")
    parser.add_argument("--mode", choices=MODES, default="train")
    parser.error = lambda message: parser.exit(2, f"error: {message}; see python main.py --help\n")
    args, rest = parser.parse_known_args(argv)
    if unknown := [flag for flag in rest if not flag.startswith("--config.")]:
        parser.error(f"unknown flags {unknown}; choose --config, --workdir, --mode or --config.KEY=VALUE")
    if not args.config and (args.mode == "train" or not args.workdir):
        parser.error("--config=configs/X.py is missing")
    return args, [flag.removeprefix("--config.") for flag in rest]


def main(argv: list[str]) -> int:
    """Exit code: 1 for a mistake, told in one line; 0 also when a signal ended the run, since it can go on."""
    args, overrides = parse(argv)
    from scorejax.experiment import config, modes, workdir
    from scorejax.runtime import errors

    errors.show_log()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    stopped = None
    try:
        chosen = config.load(args.config) if args.config else workdir.saved_config(args.workdir)
        config.override(chosen, overrides)
        folder = args.workdir or f"runs/{chosen.name}"
        stopped = modes.run(args.mode, chosen, folder)
    except KeyboardInterrupt:
        stopped = "SIGINT"
    except (errors.RunError, OSError) as error:
        return print(f"error: {error}", file=sys.stderr) or 1
    if stopped:
        print(f"stopped by {stopped}; to go on: {shlex.join(['python', 'main.py', *argv])}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
