"""The figures and tables that lectures on score-based models show, computed anew: `python -m benchmarks.slides`."""

from benchmarks.slides.frame import Given, Part, Refused, part, table

__all__ = ["Given", "Part", "Refused", "part", "table"]
