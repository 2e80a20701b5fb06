"""PNG of curves on logarithmic axes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

Curve = Sequence[tuple[float, float]]


def save_curves(
    path: str | Path,
    curves: Mapping[str, Curve],
    *,
    labels: tuple[str, str],
    marked: Curve = (),
    floor: float | None = None,
) -> None:
    """Draw named curves of points `(x, y)`, both axes logarithmic.

    Args:
        path: PNG file to write.
        curves: name -> points; values that are not finite and positive are left out.
        labels: of the horizontal and the vertical axis.
        marked: points to put a ring around (a Pareto front).
        floor: a height to draw as a dashed line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)  # without pyplot there is no global state, and no display is looked for
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel=labels[0], ylabel=labels[1])
    for i, (name, points) in enumerate(curves.items()):
        shown = [(x, y) for x, y in points if 0 < y < float("inf")]
        style = ("-", "--", ":")[i // 10 % 3]
        axes.plot([x for x, _ in shown], [y for _, y in shown], style, marker="o", markersize=4, label=name)
    if marked:
        axes.plot(
            [x for x, _ in marked], [y for _, y in marked], "o", markersize=11, markerfacecolor="none",
            markeredgecolor="black", label="Pareto front",
        )  # fmt: skip
    if floor is not None:
        axes.axhline(floor, color="gray", linestyle="--", label="floor: real examples")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(fontsize="small")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
