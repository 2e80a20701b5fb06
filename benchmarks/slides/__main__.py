"""Draw the slides anew: python -m benchmarks.slides [PART ...] [--list] [--data-dir=DIR] [--uci=DIR]."""

from __future__ import annotations

import argparse
import ast
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.slides import frame


def main(argv: list[str] | None = None) -> int:
    """Compute the parts that are asked for and are not there yet, then write the page of all results."""
    parser = argparse.ArgumentParser("python -m benchmarks.slides", description=frame.__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("parts", nargs="*", metavar="PART", help="names of parts; default: all")
    parser.add_argument("--list", action="store_true", help="name the parts, with their settings, and do nothing")
    parser.add_argument("--page", action="store_true", help="write the page of the results that there are, and no more")
    parser.add_argument("--again", action="store_true", help="compute also what there is")
    parser.add_argument("--data-dir", default=os.environ.get("TFDS_DATA_DIR"), help="prepared tensorflow-datasets")
    parser.add_argument("--uci", help="folder of the UCI tables")
    parser.add_argument("--work", default="runs/slides", help="folder of the runs; default: runs/slides")
    parser.add_argument("--out", help="folder for results, pictures and page; default: their places in the repository")
    parser.add_argument("--set", action="append", default=[], metavar="PART.KEY=VALUE", help="change a setting")
    args = parser.parse_args(argv)
    known = frame.parts()
    if args.list:
        for name, each in known.items():
            needs = "".join(f" {frame.FLAGS[need]}" for need in each.needs)
            print(f"{name:<15}{each.title}{f' (needs{needs})' if needs else ''}")
            print("".join(f"{'':<15}{name}.{key}={value!r}\n" for key, value in each.settings.items()), end="")
        return 0
    changed: dict[str, dict[str, object]] = {}
    for text in args.set:
        key, equals, value = text.partition("=")
        name, _, setting = key.partition(".")
        if not equals or not setting:
            parser.error(f"--set {text}: write PART.KEY=VALUE")
        changed.setdefault(name, {})[setting] = _value(value)
    if unknown := [name for name in [*args.parts, *changed] if name not in known]:
        parser.error(f"there is no part {', '.join(unknown)}; choose from {', '.join(known)}")
    places = frame.Places.under(Path(args.out)) if args.out else frame.Places()
    failed = False
    for name in [] if args.page else args.parts or known:
        print(f"{name}: {known[name].title}", flush=True)
        try:
            computed = frame.compute(
                known[name], places, Path(args.work), changed=changed.get(name), again=args.again,
                data_dir=args.data_dir, uci=args.uci,
            )  # fmt: skip
            print("  done" if computed else "  is there already", flush=True)
        except frame.Refused as refused:
            print(f"  left out: {refused}", file=sys.stderr, flush=True)
            failed = True
    try:
        print(frame.write_page(places))
    except frame.Refused as refused:
        print(f"no page: {refused}", file=sys.stderr)
        failed = True
    return int(failed)


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    sys.exit(main())
