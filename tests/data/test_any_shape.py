"""Arrays of any shape and type: read, brought to model space and back, or refused by an error that says what to do."""

import numpy as np
import pytest

from scorejax.data import Channels, Dataset, Form, compare, describe, fingerprint_of, fit
from scorejax.data.arrays import Reading, find_keys, read_split

TYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "int32", "int64", "uint64", "float16", "float32", "float64"),
    *("complex64", "U3", "M8[s]", "O"),
)
ADVICE = ("set data.axes to", "store ", "wanted tables")
N = 20


def drawn(case: int) -> tuple[np.ndarray, str | None]:
    """An array of 1 to 6 axes, of any type, channels 1 to 13 and sides 1 to 40, and its axes in one of four cases."""
    draw = np.random.default_rng(case)
    rank = int(draw.choice([1, 2, 3, 3, 4, 4, 4, 5, 5, 6]))
    most = {2: 40, 3: 40, 4: 24, 5: 9, 6: 4}.get(rank, 1)
    sides, channels = draw.integers(1, most + 1, max(rank - 2, 0)), int(draw.integers(1, 14))
    shape = (N, *map(int, sides), channels)[:rank]
    kind = np.dtype(TYPES[case % len(TYPES)])
    if kind.kind in "bu":
        x = draw.integers(0, 2 if kind.kind == "b" else 200, shape).astype(kind)
    elif kind.kind == "i":
        x = draw.integers(-100, 100, shape).astype(kind) * (10**9 if case % 3 == 0 and kind.itemsize == 8 else 1)
    else:
        x = (draw.normal(size=shape) * 10.0 ** draw.integers(-4, 5)).astype(kind if kind.kind in "fc" else "f4")
        x = x if kind.kind in "fc" else np.zeros(shape, kind)
    axes = {2: "NC", 3: "NLC", 4: "NHWC", 5: "NDHWC"}.get(rank) if case % 4 else None
    return x, axes


def read(x: np.ndarray, axes: str | None, split: str) -> Dataset:
    arrays = {"x": x}
    return read_split("made.npz", "made", split, arrays, find_keys("made.npz", ["x"]), Reading(axes), "npz")


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_every_shape_and_type_is_read_and_comes_back_or_is_refused_with_what_to_do(first, caplog):
    refused = 0
    for case in range(first, first + 50):
        x, axes = drawn(case)
        try:
            train, test = (read(x, axes, split) for split in ("train", "test"))
        except ValueError as error:
            said = str(error)
            assert "made.npz" in said and any(advice in said for advice in ADVICE), said
            assert axes is None or x.dtype.kind not in "biuf" or x.ndim not in (2, 3, 4, 5), said
            refused += 1
            continue
        compare(train, test)
        assert len(train) == 18 and len(test) == 2 and fingerprint_of(train) != fingerprint_of(test)
        form = Form.of(train)
        assert form.kind in describe(train) or form.kind == "table"
        for normalize in ("standard", "range"):
            space = Channels(fit(train.examples, form.levels, normalize=normalize), form.levels, form.dtype)
            sent = space.encode(np.asarray(train.examples))
            assert np.all(np.isfinite(sent))
            at = sent if form.levels is None else space.map.forward(sent + 0.5)
            assert np.abs(at).max() < (1.0 + 1e-6 if normalize == "range" else 10.0)
            back = space.decode(at)
            if form.levels is None:
                size = np.abs(np.float64(train.examples)).max()
                np.testing.assert_allclose(back, np.float64(train.examples), rtol=1e-5, atol=1e-6 * size)
            else:
                np.testing.assert_array_equal(back, np.asarray(train.examples))
    assert 10 <= refused <= 35  # types without numbers, ranks without a kind, axes that can be read in two ways
