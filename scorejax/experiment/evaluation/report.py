"""The report of an evaluation: what it was measured on, as JSON and as lines for a person."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

import scorejax
from scorejax import metrics


def summary(report: dict[str, Any]) -> str:
    """The numbers of a report as lines for a person."""
    bits = report.get("likelihood") or report.get("elbo") or report.get("classification")
    examples = f"{bits['examples']} of {bits['of']} {report['split']} examples of " if bits else ""
    lines = [f"step {report['step']}, {examples}{report['data']}"]
    for part, lines_of in (
        ("classification", _classification_lines),
        ("likelihood", _likelihood_lines),
        ("elbo", _bound_lines),
        ("samples", _sample_lines),
    ):
        lines += lines_of(report[part]) if part in report else []
    if bits and "truth" in bits:
        lines.append(f"  |bits/dim - truth|  {abs(bits['bits_per_dim'] - bits['truth']):.5f}")
    return "\n".join(lines)


def _likelihood_lines(bits: dict[str, Any]) -> list[str]:
    """The exact bits/dim, and what they are held against."""
    lines = [
        f"  bits/dim            {bits['bits_per_dim']:.4f} +- {bits['standard_error']:.4f}",
    ]
    if bits["gaussian_baseline"] is not None:
        lines.append(f"  Gaussian baseline   {bits['gaussian_baseline']:.4f}")
    if bits["uniform_baseline"] is not None:
        lines.append(f"  uniform baseline    {bits['uniform_baseline']:.4f}   ({bits['levels']} gray levels)")
    if "bound" in bits:
        lines.append(f"  upper bound         {bits['bound']:.4f} +- {bits['bound_standard_error']:.4f}")
    if bits["failed"]:
        lines.append(f"  {bits['failed']} examples left out: the ODE solver did not arrive; try a larger eval.rtol")
    return lines


def _bound_lines(bound: dict[str, Any]) -> list[str]:
    """The variational bound and its parts."""
    about = f"{bound['variance']} variance, {bound['times']} times, {bound['evaluations']} evaluations"
    parts = f"prior {bound['prior']:.4f}, KL {bound['kl']:.4f}, decoder {bound['decoder']:.4f}"
    return [
        f"  variational bound   {bound['bits_per_dim']:.4f} +- {bound['standard_error']:.4f}   ({about})",
        f"    its parts         {parts}",
    ]


def _classification_lines(c: dict[str, Any]) -> list[str]:
    """A row for each noise level, from the prior to the data."""
    guess = f"  {'a guess':>8}{c['guess_accuracy']:12.2%}{'':10}{c['guess_cross_entropy']:13.4f} nats"
    return [
        f"  {'log SNR':>8}{'accuracy':>12}{'':10}{'cross entropy':>13}",
        guess,
        *(
            f"  {level['log_snr']:8.2f}{level['accuracy']:12.2%} +- {level['accuracy_error']:<6.2%}"
            f"{level['cross_entropy']:13.4f} +- {level['cross_entropy_error']:.4f}"
            for level in c["levels"]
        ),
    ]


def _sample_lines(s: dict[str, Any]) -> list[str]:
    """The numbers of samples, as the metric of each puts them."""
    lines = [f"  {label:<20}{value}" for name in s["metrics"] for label, value in metrics.metric(name).lines(s)]
    about = f"   ({s['n']} samples, {s['nfe']} evaluations, features {s['features']})"
    return [line + about * (i == 0) for i, line in enumerate(lines)] + [f"  note: {note}" for note in s["notes"]]


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
