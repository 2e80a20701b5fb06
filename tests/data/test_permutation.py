import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.data import indices, indices_on_host


def stream(seed, n, count, batch_size):
    """The first `count` positions of the stream, batch by batch."""
    steps = np.arange(-(-count // batch_size))
    return indices_on_host(seed, steps, batch_size, n).ravel()[:count]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 97, 1000, 4096, 50_000])
@pytest.mark.parametrize("batch_size", [1, 5, 128])
def test_each_epoch_is_a_permutation_of_all_examples(n, batch_size):
    if n > 5000 and batch_size < 128:
        pytest.skip("covered by the larger batch")
    for epoch in np.split(stream(3, n, 3 * n, batch_size), 3):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(n))


def test_epochs_and_seeds_have_orders_of_their_own():
    first, second = np.split(stream(0, 1000, 2000, 50), 2)
    other = stream(1, 1000, 1000, 50)
    for a, b in ((first, second), (first, other), (second, other), (first, np.arange(1000))):
        assert np.mean(a == b) < 0.02


def test_the_device_and_the_host_draw_the_same_examples():
    steps = np.array([0, 1, 2, 77, 10_000, 2**31, 2**32 - 1], np.uint32)
    for batch_size, n in ((8, 13), (128, 50_000), (3, 1), (6, 1000)):
        host = indices_on_host(9, steps, batch_size, n)
        device = np.stack([np.asarray(indices(9, s, batch_size, n)) for s in steps])
        np.testing.assert_array_equal(device, host)


def test_compiled_scanned_and_eager_draws_agree():
    host = indices_on_host(5, np.arange(20), 8, 30)

    @jax.jit
    def scanned(start):
        return jax.lax.scan(lambda step, _: (step + 1, indices(5, step, 8, 30)), start, None, length=20)[1]

    np.testing.assert_array_equal(scanned(jnp.int32(0)), host)
    with jax.disable_jit():
        np.testing.assert_array_equal(indices(5, 3, 8, 30), host[3])


@pytest.mark.slow
def test_positions_beyond_32_bits_stay_exact():
    """Position p = step * B + i, computed with Python's integers: same epoch, same place."""
    n, batch_size, step = 1_281_167, 4096, 3_999_999
    epoch, offset = divmod(step * batch_size, n)
    assert step * batch_size > 2**32
    aligned = indices_on_host(2, np.array([epoch]), n, n)[0]  # one whole epoch as one batch
    drawn = indices_on_host(2, np.array([step]), batch_size, n)[0]
    np.testing.assert_array_equal(drawn[:100], aligned[offset : offset + 100])


def test_slices_for_devices_make_up_the_whole_batch():
    whole = indices(1, 4, 12, 50)
    for parts in (2, 3, 12):
        slices = [indices(1, 4, 12, 50, part=p, parts=parts) for p in range(parts)]
        np.testing.assert_array_equal(np.concatenate(slices), whole)


@pytest.mark.parametrize("n", [5, 6, 16, 24])
def test_an_element_and_a_pair_of_elements_are_placed_uniformly(n):
    """Chi-square within 6 sigma, for the place of element 0 and for the pair at the first and last place."""
    epochs = 20_000
    orders = stream(11, n, epochs * n, n).reshape(epochs, n)
    place = np.bincount(np.argmax(orders == 0, axis=1), minlength=n)
    pair = np.bincount(orders[:, 0] * n + orders[:, -1], minlength=n * n)[~np.eye(n, dtype=bool).ravel()]
    for counts in (place, pair):
        expected, freedom = epochs / counts.size, counts.size - 1
        chi2 = np.sum((counts - expected) ** 2) / expected
        assert abs(chi2 - freedom) < 6 * np.sqrt(2 * freedom)


def test_neighbours_in_the_set_are_not_neighbours_in_the_epoch():
    """Serial correlation of a random permutation is below 6 / sqrt(n)."""
    n = 50_000
    order = stream(4, n, n, 128).astype(float)
    for lag in (1, 2, 128):
        assert abs(np.corrcoef(order[lag:], order[:-lag])[0, 1]) < 6 / np.sqrt(n)


def numbers_computed(program):
    """How many numbers a program computes; a loop whose length depends on the data has no count."""
    total = 0
    for equation in program.eqns:
        assert equation.primitive.name != "while", "a loop whose length depends on the data"
        inner = equation.params.get("jaxpr")
        if inner is None:
            total += sum(out.aval.size for out in equation.outvars)
        else:
            total += equation.params.get("length", 1) * numbers_computed(getattr(inner, "jaxpr", inner))
    return total


def test_a_draw_costs_some_thousand_numbers_an_example_and_hardly_more_for_a_larger_set():
    """The rounds grow with the logarithm of the set; a table of the set would grow with its size."""
    cost = {n: numbers_computed(jax.make_jaxpr(lambda step, n=n: indices(0, step, 128, n))(0)) for n in (1000, 2**30)}
    assert cost[1000] < 128 * 2000
    assert cost[2**30] < 1.7 * cost[1000]


@pytest.mark.parametrize(
    ("batch_size", "n", "parts", "message"),
    [(4, 0, 1, "n = 0"), (0, 4, 1, "batch_size = 0"), (6, 10, 4, "parts = 4"), (1, 2**30 + 1, 1, "n = ")],
)
def test_impossible_draws_are_refused_with_the_reason(batch_size, n, parts, message):
    for draw in (
        lambda: indices(0, 0, batch_size, n, parts=parts),
        lambda: indices_on_host(0, np.arange(1), batch_size, n, parts=parts),
    ):
        with pytest.raises(ValueError, match=message):
            draw()
