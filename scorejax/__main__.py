"""Train a score model, measure it, draw from it; the same command resumes what was stopped:
scorejax --config=NAME[:variant] [--workdir=DIR] [--mode=MODE] [--config.section.key=value]
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's errors, not its remarks

EPILOG = """
A setting is --config.section.key=value. Where a part is named, --config.sampler.stepper=help lists what there is, with
settings and what they do, and --config.sampler.stepper=NAME:key=value takes one of them. --config=help lists the
configs that come with the package; --config=NAME --config.help=all shows all settings of one.
"""


def parse(argv: list[str], program: str) -> tuple[argparse.Namespace, list[str]]:
    """Split the command line into flags and the overrides `key=value` of the config."""
    parser = argparse.ArgumentParser(
        program,
        description=str(__doc__).replace("scorejax --", f"{program} --"),
        allow_abbrev=False,
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument("--help", "-h", action="store_true", help="this text, with the modes")
    parser.add_argument("--config", help="config file, or the name of a shipped one; default: the one in --workdir")
    parser.add_argument("--workdir", help="folder of the run; default: runs/, then the config's name")
    parser.add_argument("--mode", default="train", help="what to do; default: train")
    parser.error = lambda message: parser.exit(2, f"error: {message}; see {program} --help\n")
    args, rest = parser.parse_known_args(argv)
    if args.help:
        from scorejax.experiment import modes

        _show(f"{parser.format_help()}\nmodes:\n{modes.describe()}")
        parser.exit(0)
    if unknown := [flag for flag in rest if not flag.startswith("--config.")]:
        parser.error(f"unknown flags {unknown}; choose --config, --workdir, --mode or --config.KEY=VALUE")
    if not (args.config or args.workdir) and not any("help" in flag for flag in rest):
        parser.error("give --config=NAME (--config=help lists them), or the --workdir of a run")
    return args, [flag.removeprefix("--config.") for flag in rest]


def _show(text: str) -> None:
    """Print a text whose reader, such as `head`, may have seen enough of it before its end."""
    try:
        print(text, flush=True)
    except OSError:  # the reader has gone, or the terminal
        # What is left in the buffer would raise the error again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: list[str] | None = None, program: str = "scorejax") -> int:
    """Run the program and return its exit code: 1 for a mistake, 128 and the number of a signal that ended it."""
    argv = sys.argv[1:] if argv is None else argv
    args, overrides = parse(argv, program)
    from scorejax.runtime import interruption

    interruption.name_signals()
    import jax

    from scorejax.experiment import config, modes, workdir
    from scorejax.runtime import errors

    # What was compiled once is not compiled again, in this run or the next.
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", os.path.expanduser("~/.cache/scorejax/xla"))
    errors.show_log()
    stopped, folder = None, args.workdir
    try:
        if args.mode not in modes.MODES:
            raise errors.ConfigError(f"unknown --mode {args.mode!r}; choose one of {', '.join(modes.MODES)}")
        if args.config:
            chosen = config.load(args.config)
        else:
            chosen = workdir.saved_config(workdir.folder(args.workdir)) if args.workdir else config.base()
        config.override(chosen, overrides)
        folder = workdir.folder(args.workdir or f"runs/{chosen.name}")
        stopped = modes.run(args.mode, chosen, folder)
    except config.Help as asked:
        _show(str(asked))
    except KeyboardInterrupt as signaled:
        stopped = getattr(signaled, "name", "SIGINT")
    except errors.RunError as error:
        return print(f"error: {error}", file=sys.stderr) or 1
    except OSError as error:
        return print(f"error: {errors.explained(error)}", file=sys.stderr) or 1
    if not stopped:
        return 0
    command = ["python", program] if program.endswith(".py") else [program]
    kept = f"{workdir.kept(folder)}\n" if folder else ""
    _show(f"{kept}stopped by {stopped}; to go on: {shlex.join([*command, *argv])}")
    return interruption.exit_code(stopped)


if __name__ == "__main__":
    sys.exit(main())
