"""PNG of ranks: a histogram, even where draws are draws of the posterior."""

from pathlib import Path

import numpy as np


def save_ranks(path: str | Path, counts: np.ndarray) -> None:
    """Draw how often the truth has each rank among draws, next to the even law.

    Args:
        path: PNG file to write.
        counts: of the ranks `0 .. S`, `[S + 1]`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="rank of the truth among the draws", ylabel="share")
    share = np.asarray(counts) / max(int(np.sum(counts)), 1)
    axes.bar(np.arange(len(share)), share, width=0.9)
    axes.axhline(1.0 / len(share), color="C3", linewidth=1, label="draws of the posterior")
    axes.legend(fontsize="small")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
