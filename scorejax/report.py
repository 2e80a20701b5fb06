"""The report of an evaluation: what it was measured on, as JSON and as lines for a person."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

import scorejax


def summary(report: dict[str, Any]) -> str:
    """The numbers of a report as lines for a person."""
    bits = report["likelihood"]
    lines = [
        f"step {report['step']}, {bits['examples']} of {bits['of']} {report['split']} examples of {report['data']}",
        f"  bits/dim            {bits['bits_per_dim']:.4f} +- {bits['standard_error']:.4f}",
        f"  Gaussian baseline   {bits['gaussian_baseline']:.4f}",
    ]
    if bits["uniform_baseline"] is not None:
        lines.append(f"  uniform baseline    {bits['uniform_baseline']:.4f}   ({bits['levels']} grey levels)")
    if bits["failed"]:
        lines.append(f"  {bits['failed']} examples left out: the ODE solver did not arrive; try a larger eval.rtol")
    if "samples" in report:
        s = report["samples"]
        lines.append(
            f"  Frechet distance    {s['frechet_distance']:.4g}, floor {s['frechet_floor']:.4g}   "
            f"({s['n']} samples, {s['nfe']} evaluations, features {s['features']})"
        )
    if "truth" in bits:
        lines.append(f"  |bits/dim - truth|  {abs(bits['bits_per_dim'] - bits['truth']):.5f}")
    return "\n".join(lines)


def environment() -> dict[str, Any]:
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


def write(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON, making the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, default=str) + "\n")
