import queue

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.data import Dataset, Resident, Streamed, eval_batches, feed
from scorejax.data.permutation import indices_on_host

N = 23
IMAGES = Dataset(
    "t",
    np.arange(N * 4, dtype=np.uint8).reshape(N, 2, 2, 1),
    np.arange(N, dtype=np.int32),
    256,
    num_classes=N,
)
VECTORS = Dataset("v", np.arange(N * 3, dtype=np.float32).reshape(N, 3))


def run(feeder, first, count, part=0):
    """Batches first ... first + count - 1 as a compiled chunk sees them."""

    @jax.jit
    def chunk(payload, step):
        return jax.lax.scan(lambda s, _: (s + 1, feeder.draw(payload, s, part)), step, None, length=count)[1]

    return jax.tree.map(np.asarray, chunk(feeder.payload(first, count), jnp.int32(first)))


@pytest.mark.parametrize("data", [IMAGES, VECTORS], ids=["images", "vectors"])
def test_resident_and_streamed_feed_the_same_batches(data):
    resident, streamed = Resident(data, 8, seed=5), Streamed(data, 8, seed=5)
    for first in (0, 6, 12, 1000):
        jax.tree.map(np.testing.assert_array_equal, run(resident, first, 6), run(streamed, first, 6))
    streamed.close()


def test_labels_travel_with_their_examples():
    examples, labels = run(Resident(IMAGES, 8, seed=0), 0, 10)
    np.testing.assert_array_equal(examples[:, :, 0, 0, 0] // 4, labels)


def test_an_epoch_is_fed_exactly_once():
    _, labels = run(Resident(IMAGES, 8, seed=0), 0, N)  # N batches of 8 are 8 epochs
    for epoch in np.split(labels.ravel(), 8):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(N))


def test_a_resumed_run_sees_what_an_uninterrupted_one_sees():
    uninterrupted = run(Streamed(IMAGES, 4, seed=1), 0, 30)
    resumed = run(Streamed(IMAGES, 4, seed=1), 17, 13)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[17:], b), uninterrupted, resumed)


@pytest.mark.slow
def test_the_parts_of_all_processes_make_up_the_batch():
    whole = run(Resident(IMAGES, 8, seed=2), 3, 5)[1]
    here, there = (Streamed(IMAGES, 8, seed=2, parts=4, local=p) for p in ((0, 1), (2, 3)))
    payloads = [f.payload(3, 5) for f in (here, there)]
    assert here.payload_axis == 0
    assert payloads[0].examples.shape == (2, 5, 2, 2, 2, 1)
    stacked = np.concatenate([p.labels for p in payloads])  # [4 parts, 5 steps, 2]
    np.testing.assert_array_equal(np.moveaxis(stacked, 0, 1).reshape(5, 8), whole)
    parts = [run(Resident(IMAGES, 8, seed=2, parts=4), 3, 5, part=p)[1] for p in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


class Watched(np.ndarray):
    """An array that notes which of its rows are read."""

    def __getitem__(self, chosen):
        self.reads.put(chosen)
        return np.asarray(self)[chosen]


def test_the_next_chunk_is_read_ahead_and_errors_reach_the_caller():
    data = Dataset("v", VECTORS.examples.view(Watched))
    data.examples.reads = queue.SimpleQueue()
    feeder = Streamed(data, 4, seed=0, ahead=2)
    for first in (0, 40):
        feeder.payload(first, 5)
        for step in (first, first + 5, first + 10):
            expected = indices_on_host(0, np.arange(step, step + 5, dtype=np.uint32), 4, N)
            np.testing.assert_array_equal(data.examples.reads.get(timeout=60), expected)
    feeder.close()
    assert data.examples.reads.empty()
    with pytest.raises(ValueError, match="batch_size = 0"):
        Streamed(VECTORS, 0, seed=0).payload(0, 1)


def test_the_budget_decides_where_the_set_lives():
    assert isinstance(feed(IMAGES, 4, 0), Resident)
    assert isinstance(feed(IMAGES, 4, 0, budget_bytes=10), Streamed)


def test_memory_mapped_sets_are_streamed_from_disk(tmp_path):
    np.save(tmp_path / "x.npy", VECTORS.examples)
    mapped = Dataset("m", np.load(tmp_path / "x.npy", mmap_mode="r"))
    np.testing.assert_array_equal(run(Streamed(mapped, 4, seed=0), 0, 3)[0], run(Resident(VECTORS, 4, seed=0), 0, 3)[0])


def test_parts_without_an_owner_are_refused():
    with pytest.raises(ValueError, match="local = None"):
        Streamed(IMAGES, 8, seed=0, parts=2)
    with pytest.raises(ValueError, match="must lie in"):
        Streamed(IMAGES, 8, seed=0, parts=2, local=(2,))


@pytest.mark.parametrize(("n", "batch_size"), [(10, 4), (8, 4), (3, 7), (1, 1)])
def test_evaluation_covers_each_example_exactly_once(n, batch_size):
    seen = []
    for chosen, mask in eval_batches(n, batch_size):
        assert chosen.shape == mask.shape == (batch_size,)
        assert chosen.min() >= 0
        assert chosen.max() < n
        seen.extend(chosen[mask].tolist())
    assert seen == list(range(n))
