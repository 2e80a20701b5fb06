"""How the compiled programs of an evaluation are run: for real, or, in a rehearsal, only traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

import jax
import numpy as np
from absl import logging

from scorejax.numerics.trees import PyTree
from scorejax.runtime import parallel
from scorejax.runtime.progress import Progress, patience

Arrays: TypeAlias = tuple[parallel.Rows, ...]
Batches: TypeAlias = Iterator[tuple[int, int, dict[str, np.ndarray]]]
Found = TypeVar("Found")


class Compiled:
    """Programs are compiled and run."""

    def rows(
        self,
        what: str,
        fn: Callable[..., PyTree],
        carried: PyTree,
        arrays: Arrays = (),
        *,
        stop: int,
        batch_size: int,
        start: int = 0,
    ) -> Batches:
        """Run `parallel.map_batches`, whose arguments these are, saying how far `what` is."""
        batches = self.batches(fn, carried, arrays, stop=stop, batch_size=batch_size, start=start)
        return report_progress(batches, what, start, stop)

    def batches(
        self, fn: Callable[..., PyTree], carried: PyTree, arrays: Arrays, *, stop: int, batch_size: int, start: int
    ) -> Batches:
        """Yield the results of `parallel.map_batches`."""
        return parallel.map_batches(fn, carried, arrays, stop=stop, batch_size=batch_size, start=start)

    def once(self, fn: Callable[..., Found], *arguments: PyTree) -> Found:
        """Return `fn(*arguments)`."""
        return fn(*arguments)


class Traced(Compiled):
    """Programs are traced, which finds what does not fit at a small part of the cost, and results are made up."""

    def batches(
        self, fn: Callable[..., PyTree], carried: PyTree, arrays: Arrays, *, stop: int, batch_size: int, start: int
    ) -> Batches:
        """Yield one batch of made-up results."""
        shapes = parallel.trace_batch(fn, carried, arrays, each=batch_size)
        yield start, stop, made_up({k: jax.ShapeDtypeStruct((stop, *v.shape), v.dtype) for k, v in shapes.items()})

    def once(self, fn: Callable[..., Found], *arguments: PyTree) -> Found:
        """Return a made-up result of `fn`."""
        return made_up(jax.eval_shape(fn, *arguments))


COMPILED = Compiled()


def made_up(shapes: PyTree) -> PyTree:
    """Arrays of these shapes and types: positive numbers, gray levels 0 and 1, and what succeeded."""
    hat = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if leaf.dtype == bool:
            return np.ones(leaf.shape, bool)
        if np.issubdtype(leaf.dtype, np.integer):
            return hat.integers(0, 2, leaf.shape).astype(leaf.dtype)
        return (0.1 + hat.random(leaf.shape)).astype(leaf.dtype)

    return jax.tree.map(draw, shapes)


def report_progress(batches: Batches, what: str, start: int, total: int) -> Batches:
    """Pass batches on, saying how far `what` is."""
    if start >= total:
        logging.info("%s: %d were done before", what, total)
    bar = Progress(total, start=start, what=what, counted="examples")
    while True:
        with patience(what):
            found = next(batches, None)
        if found is None:
            break
        yield found
        bar.update(found[1])
