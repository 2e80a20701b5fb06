"""The report of an evaluation: what it was measured on, as JSON and as lines for a person."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

import jax

import scorejax
from scorejax.experiment.evaluation.evaluation import Evaluation, Result


def summary(report: Result, evaluations: Sequence[Evaluation]) -> str:
    """The numbers of a report as lines for a person."""
    counted = next((report[each.name] for each in evaluations if "of" in report.get(each.name, {})), None)
    examples = f"{counted['examples']} of {counted['of']} {report['split']} examples of " if counted else ""
    lines = [f"step {report['step']}, {examples}{report['data']}"]
    for each in evaluations:
        lines += each.lines(report[each.name]) if each.name in report else []
    if counted and "truth" in counted:
        lines.append(f"  |bits/dim - truth|  {abs(counted['bits_per_dim'] - counted['truth']):.5f}")
    lines += [f"  note: {note}" for note in report.get("notes", [])]
    return "\n".join(lines)


def annotate(report: Result, evaluations: Sequence[Evaluation]) -> None:
    """Add to each section of a report the units of its numbers, by their keys."""
    for each in evaluations:
        if each.name in report:
            own = report[each.name]
            own["units"] = {**each.units, **own.get("units", {})}


def environment() -> Result:
    """Versions and devices, without which a number cannot be repeated."""
    packages = ("jax", "jaxlib", "flax", "diffrax", "numpy")
    device = jax.devices()[0]
    return {
        "versions": {
            "scorejax": scorejax.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "device": device.device_kind,
        "devices": jax.device_count(),
    }
