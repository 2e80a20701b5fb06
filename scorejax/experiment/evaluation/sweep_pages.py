"""What a person sees of a sweep: tables, pictures, and the samplers that nothing beats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from scorejax import metrics, pictures
from scorejax.experiment.evaluation.evaluation import Result
from scorejax.runtime.files import replacing


class Point(NamedTuple):
    """One sampler with one number of steps.

    Attributes:
        sampler: as the config names it.
        steps: of the time grid.
        nfe: network evaluations for a sample, counted.
        distance: Frechet distance to real examples.
    """

    sampler: str
    steps: int
    nfe: int
    distance: float


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that no other point beats: none has at most as many evaluations and a smaller distance."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.nfe, p.distance)):
        if point.distance < (front[-1].distance if front else float("inf")):
            front.append(point)
    return front


def table(points: Sequence[Point], floor: float) -> str:
    """Markdown of the distances: a row for each sampler, a column for each number of steps."""
    values = {(label(point.sampler), point.steps): f"{point.distance:.4g}" for point in points}
    about = f"floor (real examples among themselves): {floor:.4g}; all in {metrics.SQUARES}"
    return f"{_markdown(values)}\n\n{about}"


def bits_table(rows: Sequence[Result]) -> str:
    """Markdown of the bounds: a row for each chain, a column for each number of steps."""
    values = {(row["label"], row["steps"]): f"{row['bits_per_dim']:.3f}" for row in rows}
    first, error = rows[0], max(row["standard_error"] for row in rows)
    about = f"bits/dim of {first['examples']} of {first['of']} examples by the bound of steps + 1 evaluations"
    return f"{_markdown(values)}\n\n{about}; standard errors up to {error:.2g}"


def label(text: str) -> str:
    """A sampler as a person reads it: `dpm_solver:order=2:time_grid=log_snr` is `dpm_solver, order 2, log_snr grid`."""
    words = [word.strip().partition("=") for word in text.split(":")]
    said = []
    for key, equals, value in words:
        of_value = {"time_grid": f"{value} grid", "variance": f"{value} variance"}
        said.append(of_value.get(key, f"{key.replace('_', ' ')} {value}") if equals else key)
    return ", ".join(said)


def draw_distances(where: str | Path, result: Result, called: str) -> None:
    """Draw the distances of a report against network evaluations, with the floor and the Pareto front marked.

    Args:
        where: the PNG.
        result: the report of a sweep.
        called: what the distance is called.
    """
    points = result["points"]
    with replacing(where) as picture:
        pictures.save_curves(
            picture,
            {
                label(text): [(p["nfe"], p["distance"]) for p in points if p["sampler"] == text]
                for text in dict.fromkeys(p["sampler"] for p in points)
            },
            marked=[(p["nfe"], p["distance"]) for p in points if p["on_the_front"]],
            floor=result["floor"],
            labels=("network evaluations for a sample", f"{called}, n = {result['n']}"),
        )


def draw_bits(where: str | Path, rows: Sequence[Result]) -> None:
    """Draw the bounds of a report against network evaluations."""
    called = dict.fromkeys(row["label"] for row in rows)
    curves = {name: [(r["evaluations"], r["bits_per_dim"]) for r in rows if r["label"] == name] for name in called}
    with replacing(where) as picture:
        pictures.save_curves(picture, curves, labels=("network evaluations", "bits/dim, variational bound"))


def _markdown(values: dict[tuple[str, int], str]) -> str:
    columns = sorted({steps for _, steps in values})
    lines = [f"| steps | {' | '.join(map(str, columns))} |", "|---" * (len(columns) + 1) + "|"]
    rows = dict.fromkeys(row for row, _ in values)
    lines += [f"| {row} | {' | '.join(values.get((row, n), '') for n in columns)} |" for row in rows]
    return "\n".join(lines)
