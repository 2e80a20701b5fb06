"""The published weights of the Inception that FID is defined by: where the file is, and what is in it."""

import hashlib
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from scorejax.data.cache import cache_folder
from scorejax.numerics.trees import PyTree
from scorejax.runtime.errors import RunError

FILE = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
VARIABLE = "SCOREJAX_INCEPTION"
CLASSES, FEATURES = 1008, 2048
_BLOCK = 2**20
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


class Weights(NamedTuple):
    """What a weights file holds.

    Attributes:
        variables: of `inception.Inception`: params and batch_stats.
        classifier: `[2048, 1008]`, the last layer without its bias.
        sha256: of the file.
    """

    variables: dict[str, PyTree]
    classifier: np.ndarray
    sha256: str


def find(path: str | Path | None = None) -> Path:
    """Return the weights file: `path`, else $SCOREJAX_INCEPTION, else in the cache folder, downloaded if need be.

    A download is checked against the published checksum. A file of your own is not, so that other weights can be
    used; its checksum is part of the name that results carry.

    Raises:
        RunError: no file there, or no network; the message says where to put the file by hand.
    """
    chosen = path or os.environ.get(VARIABLE)
    if chosen:
        found = Path(chosen).expanduser()
        if not found.is_file():
            origin = "as asked for" if path else f"where ${VARIABLE} points"
            raise RunError(f"no Inception weights at {found}, {origin}; {_by_hand(cache_folder() / FILE)}")
        return found
    kept = cache_folder() / FILE
    if not kept.is_file():
        _download(kept)
    return kept


def checksum(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: str | Path, shapes: dict[str, PyTree]) -> Weights:
    """Read a weights file.

    Args:
        path: file of `torch.save` with the names of the published one.
        shapes: of the variables, as of `jax.eval_shape(Inception().init, ...)`.

    Raises:
        RunError: not such a file, or weights are missing or of another shape.
    """
    from scorejax.models.pretrained import torch_file

    saved = torch_file.load(path)
    if not isinstance(saved, dict):
        raise RunError(f"{path} holds a {type(saved).__name__}; wanted the weights of Inception by name")
    wanted = {_published_name(place): (place, _published_shape(shape)) for place, shape in _leaves(shapes)}
    sizes = {name: shape for name, (_, shape) in wanted.items()} | {"fc.weight": (CLASSES, FEATURES)}
    wrong = [f"{name} {size}" for name, size in sizes.items() if np.shape(saved.get(name, ())) != size]
    if wrong:
        raise RunError(
            f"{path} is not the Inception of 2015-12-05: {len(wrong)} of its {len(sizes)} weights are missing or of "
            f"another shape, first {wrong[0]}; {_by_hand(path)}"
        )
    variables: dict[str, PyTree] = {}
    for name, (place, _) in wanted.items():
        node = variables
        for part in place[:-1]:
            node = node.setdefault(part, {})
        value = np.asarray(saved[name], np.float32)
        node[place[-1]] = np.ascontiguousarray(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value)
    return Weights(variables, np.asarray(saved["fc.weight"], np.float64).T, checksum(path))


def _leaves(tree: dict[str, PyTree], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    for name, node in tree.items():
        if hasattr(node, "shape"):
            yield (*place, name), tuple(node.shape)
        else:
            yield from _leaves(node, (*place, name))


def _published_name(place: tuple[str, ...]) -> str:
    _, *modules, leaf = place  # without the collection
    return ".".join([*modules, _LEAVES[leaf]])


def _published_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape


def _download(target: Path) -> None:
    """Fetch the published file; it appears under its name only when its checksum is right."""
    logging.info("downloading Inception weights (96 MB) from %s", URL)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    try:
        with urllib.request.urlopen(URL, timeout=30) as answer, partial.open("wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
        if (got := checksum(partial)) != SHA256:
            raise RunError(f"the download of {URL} has SHA-256 {got}; not {SHA256}; {_by_hand(target)}")
        os.replace(partial, target)
    except OSError as error:  # URLError and timeouts among them
        reason = getattr(error, "reason", error)
        raise RunError(f"Inception weights are not at {target}, nor to be had: {reason}; {_by_hand(target)}") from error
    finally:
        partial.unlink(missing_ok=True)


def _by_hand(target: str | Path) -> str:
    return f"put the file {URL} at {target}, or say where it is by eval.features=inception:weights=FILE or ${VARIABLE}"
