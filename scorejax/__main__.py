"""Train a score model, measure it, draw from it. The same command, or --workdir alone, goes on with what was stopped.

scorejax --config=NAME[:variant] [--workdir=DIR] [--mode=MODE] [--config.section.key=value]
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's errors, not its remarks

EPILOG = """
examples:
  {program} --config=vp_digits                    train on 8x8 digits, then evaluate: the first run to try
  {program} --config=vp_digits:tiny               the same in seconds, to see that it works
  {program} --workdir=runs/vp_digits              go on with a run that was stopped
  {program} --workdir=runs/vp_digits --mode=sample --config.eval.samples=1000
  {program} --config=vp_mnist --config.data=folder:path=DIR --config.data.size=28
                                                  images of your own, brought to 28x28 pixels

modes:
{modes}

configs:
{configs}

settings:
  A setting is --config.section.key=value, such as --config.optim.lr=1e-3. The sections are
  {sections}.
  --config=NAME --config.help=all shows all settings of a config with their values. Where a part is named,
  --config.sampler.stepper=help lists what there is, with settings and what they do, and
  --config.sampler.stepper=NAME:key=value takes one of them.

exit codes:
  0 done; 1 a mistake, said in one line; 2 a command line that cannot be read; 128 and its number after a signal: 130
  after Ctrl-C, 143 after SIGTERM. What a signal stopped goes on by the command that is printed.
"""


def parse(argv: list[str], program: str) -> tuple[argparse.Namespace, list[str]]:
    """Split the command line into flags and the overrides `key=value` of the config."""
    parser = argparse.ArgumentParser(
        program,
        description=str(__doc__).replace("scorejax --", f"{program} --"),
        allow_abbrev=False,
        add_help=False,
        usage=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--help", "-h", action="store_true", help="this text")
    parser.add_argument("--config", help="config file, or the name of a shipped one; default: the one in --workdir")
    parser.add_argument("--workdir", help="folder of the run; default: runs/, then the config's name")
    parser.add_argument("--mode", default="train", help="what to do; default: train")
    parser.error = lambda message: parser.exit(2, f"error: {message}; see {program} --help\n")
    args, rest = parser.parse_known_args(argv)
    if args.help or args.mode == "help":
        _show((parser.format_help() + _guide(program)).strip())
        parser.exit(0)
    if unknown := [flag for flag in rest if not flag.startswith("--config.")]:
        loose = "" if unknown[0].startswith("--") else "; a setting is written in one word, with an equals sign"
        parser.error(f"unknown flags {unknown}; choose --config, --workdir, --mode or --config.KEY=VALUE{loose}")
    if not (args.config or args.workdir) and not any("help" in flag for flag in rest):
        parser.error("give --config=NAME (--config=help lists them), or the --workdir of a run")
    return args, [flag.removeprefix("--config.") for flag in rest]


def _guide(program: str) -> str:
    """The examples, modes, configs and sections that there are."""
    from scorejax.experiment import config, modes

    try:
        listed = str(config.load("help"))
    except config.Help as shipped:
        listed = str(shipped).partition("\n")[2]
    sections = [key for key, value in config.base().items() if isinstance(value, config.Config)]
    called = f"python {program}" if program.endswith(".py") else program
    return EPILOG.format(program=called, modes=modes.describe(), configs=listed, sections=", ".join(sections))


def _show(text: str) -> None:
    """Print a text whose reader, such as `head`, may have seen enough of it before its end."""
    try:
        print(text, flush=True)
    except OSError:  # the reader has gone, or the terminal
        # What is left in the buffer would raise the error again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: list[str] | None = None, program: str = "scorejax") -> int:
    """Run the program and return its exit code: 1 for a mistake, 128 and the number of a signal that ended it."""
    try:
        return _main(sys.argv[1:] if argv is None else argv, program)
    except KeyboardInterrupt:  # while its parts were still being imported
        return print("stopped before anything was begun", file=sys.stderr) or 130


def _main(argv: list[str], program: str) -> int:
    """Do what the command line says, up to the message and the exit code of what went wrong."""
    args, overrides = parse(argv, program)
    from scorejax.runtime import interruption

    interruption.name_signals()
    import jax

    from scorejax.experiment import config, modes, published, workdir
    from scorejax.experiment.config.names import hint
    from scorejax.runtime import errors

    # What was compiled once is not compiled again, in this run or the next.
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", os.path.expanduser("~/.cache/scorejax/xla"))
    errors.show_log()
    stopped, chosen, folder = None, None, args.workdir
    try:
        if args.mode not in modes.MODES:
            raise errors.ConfigError(
                f"unknown --mode {args.mode!r}; choose one of {', '.join(modes.MODES)}{hint(args.mode, modes.MODES)}"
            )
        if args.config:
            chosen = published.follow(config.load(args.config), overrides)
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
    except Exception as error:  # a fault of the program, or of a part of the user's own
        text = f"error: {errors.in_one_line(error)}; nobody foresaw this: {_keep(traceback.format_exc())} says where"
        return print(text, file=sys.stderr) or 1
    if not stopped:
        return 0
    command = ["python", program] if program.endswith(".py") else [program]
    if args.mode == "train" and folder and modes.resumes(chosen, folder):
        argv = [f"--workdir={folder}"]  # the folder knows the rest
    kept = f"{workdir.kept(folder)}\n" if folder else ""
    _show(f"{kept}stopped by {stopped}; to go on: {shlex.join([*command, *argv])}")
    return interruption.exit_code(stopped)


def _keep(text: str) -> str:
    """Write a text to a file, and return what to call it."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="scorejax-", suffix=".txt", delete=False) as file:
            file.write(text)
        return file.name
    except OSError:
        return f"no file could be written, but {text!r}"


if __name__ == "__main__":
    sys.exit(main())
