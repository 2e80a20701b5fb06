"""Forward processes of a config, with those that are made around another process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from scorejax import sdes
from scorejax.experiment.config.parts import Seam
from scorejax.numerics.ranges import NonNegative, Positive
from scorejax.sdes import BASES, SDE, LinearSDE
from scorejax.sdes.basis import Shape
from scorejax.sdes.corruption import check_kind

BASIS = Seam("scorejax.sdes:BASES", "basis", "dct", supplied=frozenset({"shape"}))


def colored(
    *,
    shape: Shape,
    base: Literal["vp", "subvp", "ve", "edm", "cosine", "flow"] = "vp",
    basis: Annotated[Any, BASIS] = "dct",
    length: Positive = 4.0,
    strength: NonNegative = 1.0,
) -> LinearSDE:
    """Add the noise of a random field, of its own strength in every mode of a basis, to another process.

    Args:
        shape: of one example: (H, W, C) of images, (L, C) of series, (D, H, W, C) of volumes, (D,) of vectors.
        base: the process whose noise is colored.
        basis: whose modes have a strength each; karhunen_loeve: the modes of the training data, and their strength.
        length: over which a field of waves (dct, dst, dft) is correlated, in samples.
        strength: power to which the spectrum is raised; 0: white noise.
    """
    made = (BASES[basis] if isinstance(basis, str) else basis)(shape)
    process = check_kind(sdes.SDES[base](), LinearSDE, "colored noise")
    return sdes.colored(process, made, length=length, strength=strength)


SDES: Mapping[str, Callable[..., SDE]] = {**sdes.SDES, "colored": colored}
