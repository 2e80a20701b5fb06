"""The bases by name: `dct`, `dst`, `dft`, `gray`, `field`, `karhunen_loeve`, and any orthogonal matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from jax import Array

from scorejax.numerics import array_files
from scorejax.numerics.ranges import Positive
from scorejax.sdes.axes import KERNELS, Axis, Kernel
from scorejax.sdes.basis import LARGEST_MATRIX, Basis, DataModes, Identity, Rotation, Separable, Shape


def along_space(shape: Shape, axis: Axis, channels: Axis = Axis()) -> Separable:  # noqa: B008
    """Return one basis along all axes of space and another along the channels.

    Raises:
        ValueError: the shape has no axes, more than three of space, or an axis without an entry.
    """
    sizes = tuple(shape) if isinstance(shape, tuple | list) else ()
    if not (1 <= len(sizes) <= 4 and all(isinstance(n, int | np.integer) and n >= 1 for n in sizes)):
        raise ValueError(
            "a basis needs the shape of one example, one to three axes of space and the channels, such as (28, 28, 1), "
            f"got {shape!r}"
        )
    shape = tuple(int(n) for n in sizes)
    space = max(len(shape) - 1, 1)
    axes = (axis,) * space + (channels,) * (len(shape) - space)
    basis = Separable(shape, axes)
    for each, n in zip(axes, shape, strict=True):
        each.matrix(n)  # refuses here what has no such basis
    return basis


def identity(shape: Shape = ()) -> Identity:
    """Return the basis of coordinates."""
    return Identity()


def dct(shape: Shape) -> Separable:
    """Return cosines (DCT-II) along space, the modes of a blur that reflects at the edge and repeats it.

    Args:
        shape: of one example, the last axis channels; (D,) for vectors.
    """
    return along_space(shape, Axis("dct"))


def dst(shape: Shape) -> Separable:
    """Return sines (DST-I) along space, which are zero beyond the edge.

    Args:
        shape: of one example, the last axis channels; (D,) for vectors.
    """
    return along_space(shape, Axis("dst"))


def dft(shape: Shape) -> Separable:
    """Return the waves of a circle (the real Fourier basis) along space, the modes of a circular blur.

    Args:
        shape: of one example, the last axis channels; (D,) for vectors.
    """
    return along_space(shape, Axis("dft"))


def gray(shape: Shape) -> Separable:
    """Return the mean of three colors and two differences of them, the same at every pixel.

    Args:
        shape: of one example, three channels last.
    """
    if len(shape) < 2:
        raise ValueError(f"the basis 'gray' is of pictures with three colors, got examples of shape {tuple(shape)}")
    return along_space(shape, Axis(), Axis("gray"))


def field(shape: Shape, kernel: Kernel = "matern32", length: Positive = 4.0) -> Separable:
    """Return the Karhunen-Loeve modes of a random field whose covariance is a product of one kernel along each axis.

    Args:
        shape: of one example, the last axis channels; (D,) for vectors.
        kernel: the covariance along an axis.
        length: over which the field is correlated, in samples.

    Raises:
        ValueError: an unknown kernel, or a length that is not positive.
    """
    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r} of a field; choose one of {', '.join(KERNELS)}")
    if not 0.0 < length < math.inf:
        raise ValueError(f"the length of a field must be positive and finite, got {length}")
    return along_space(shape, Axis("field", (kernel, float(length))))


def karhunen_loeve(shape: Shape) -> DataModes:
    """Return the Karhunen-Loeve modes of a data set, the eigenvectors of its covariance, which `fit` finds.

    Args:
        shape: of one example, at most 4096 numbers.

    Raises:
        ValueError: an example has more numbers.
    """
    if math.prod(shape) > LARGEST_MATRIX:
        raise ValueError(
            f"the modes of a data set are a matrix of {math.prod(shape)} x {math.prod(shape)} numbers for examples of "
            f"shape {tuple(shape)}; up to {LARGEST_MATRIX} numbers are possible: take dct or field, or smaller examples"
        )
    return DataModes(tuple(int(n) for n in shape))


def matrix(shape: Shape, path: str) -> Rotation:
    """Return the orthogonal matrix in a file, `[D, D]`, columns are the modes of flattened examples.

    Args:
        shape: of one example.
        path: a `.npy` file.

    Raises:
        ValueError: it is of another size, or not orthogonal.
    """
    found = array_files.read(path)
    if list(found) != ["x"]:
        raise ValueError(f"the matrix of a basis is one array, a .npy file; {path} holds {', '.join(found)}")
    return rotation(found["x"], shape)


def rotation(matrix: Array | np.ndarray, shape: Shape | None = None) -> Rotation:
    """Return an explicit orthogonal matrix as a basis of flattened examples.

    Args:
        matrix: `U [D, D]`, columns are the modes.
        shape: of one example; unset: any of D numbers.

    Raises:
        ValueError: it is of another size, or not orthogonal to 1e-4.
    """
    u = np.asarray(matrix, np.float64)
    size = u.shape[0] if shape is None else math.prod(shape)
    if u.shape != (size, size):
        raise ValueError(f"a basis of examples of shape {shape} is a matrix [{size}, {size}], got {list(u.shape)}")
    if not np.abs(u.T @ u - np.eye(size)).max() < 1e-4:
        raise ValueError("the matrix of a basis must be orthogonal, U^T U = I; this one is not: take its QR factor")
    return Rotation(u)


BASES: Mapping[str, Callable[..., Basis]] = {
    "identity": identity,
    "dct": dct,
    "dst": dst,
    "dft": dft,
    "gray": gray,
    "field": field,
    "karhunen_loeve": karhunen_loeve,
    "matrix": matrix,
}
"""The bases by name, each `(shape, ...) -> Basis`; their other parameters are settings."""
