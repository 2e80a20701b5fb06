"""Eight devices compute what one computes, and a step that lets them drift apart is caught."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import small, stored

from scorejax.experiment.training.train import train
from scorejax.runtime import parallel

# One process for everything that needs eight devices: starting one costs more than what it computes.
EIGHT = """
import json, sys, jax, jax.numpy as jnp, numpy as np
sys.path.insert(0, sys.argv[2])
from runs import small, toy
from scorejax.experiment.training.train import train
from scorejax.runtime import parallel

workdir = sys.argv[1]
said = {"devices": jax.device_count()}
for feeding in ("resident", "streamed"):
    more = ["data.resident_mib=0"] if feeding == "streamed" else []
    train(small("model.dropout=0.3", *more), f"{workdir}/{feeding}")

try:
    train(toy("Straying"), f"{workdir}/straying")
    said["straying"] = "not caught"
except RuntimeError as error:
    said["straying"] = str(error)

double = lambda carried, index, x: {"y": carried * x, "index": index}
x = np.arange(21.0, dtype=np.float32).reshape(21, 1)
runs = list(parallel.map_batches(double, np.float32(2), (x,), stop=21, batch_size=12, start=3))
said["spans"] = [(first, end, len(results["y"])) for first, end, results in runs]
said["y"] = np.concatenate([results["y"] for *_, results in runs]).ravel().tolist()
said["index"] = np.concatenate([results["index"] for *_, results in runs]).tolist()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def eight(on_eight_devices, tmp_path_factory, request):
    """What eight devices said, and where they left their runs."""
    workdir = tmp_path_factory.mktemp("eight")
    printed = on_eight_devices(EIGHT, workdir, request.path.parent)
    return workdir, json.loads(printed.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.fake_devices
@pytest.mark.parametrize("feeding", ["resident", "streamed"])
def test_eight_devices_train_what_one_trains(eight, tmp_path, feeding):
    workdir, said = eight
    assert said["devices"] == 8
    config = small("model.dropout=0.3")
    train(config, tmp_path)
    one, many = stored(config, tmp_path), stored(config, workdir / feeding)
    assert many.step == 8
    # Adam divides by the root of the squared gradient: rounding grows where gradients are near zero.
    for a, b in zip(jax.tree.leaves(one.fields), jax.tree.leaves(many.fields), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.fake_devices
def test_devices_that_move_apart_are_caught_before_anything_is_saved(eight):
    workdir, said = eight
    assert "devices hold different values of .params" in said["straying"]
    assert "parallel.mean" in said["straying"]
    assert not list((workdir / "straying" / "checkpoints").glob("[0-9]*"))


@pytest.mark.slow
@pytest.mark.fake_devices
def test_every_example_is_computed_once_on_eight_devices(eight):
    said = eight[1]
    assert said["spans"] == [[3, 19, 16], [19, 21, 2]]  # 12 is rounded up to a multiple of 8
    assert said["index"] == list(range(3, 21))
    assert said["y"] == [2.0 * i for i in range(3, 21)]


@pytest.mark.parametrize("batch", [1, 4, 7, 21, 50])
def test_every_example_is_computed_once_whatever_the_batch(batch):
    x = np.arange(21, dtype=np.float32)
    runs = parallel.map_batches(lambda c, index, x: (c + x, index), np.float32(1), (x,), stop=21, batch_size=batch)
    spans, values, numbers = zip(*[((first, end), y, i) for first, end, (y, i) in runs], strict=True)
    assert [first for first, _ in spans] == list(range(0, 21, batch))
    np.testing.assert_array_equal(np.concatenate(values), x + 1)
    np.testing.assert_array_equal(np.concatenate(numbers), np.arange(21))


def test_examples_may_be_made_from_their_numbers():
    runs = list(parallel.map_batches(lambda c, index: c * index, np.float32(2), stop=5, batch_size=3))
    np.testing.assert_array_equal(np.concatenate([y for *_, y in runs]), 2.0 * np.arange(5))


def test_nothing_left_to_compute_is_no_batch():
    assert list(parallel.map_batches(lambda c, index: index, 0, stop=5, batch_size=3, start=5)) == []


def test_a_state_comes_to_the_host_as_copies():
    state = parallel.replicate({"w": jnp.arange(3.0), "key": jax.random.key(5)})
    host = parallel.to_host(state)
    np.testing.assert_array_equal(host["w"], [0, 1, 2])
    np.testing.assert_array_equal(host["key"], jax.random.key_data(jax.random.key(5)))
    host["w"][0] = 9
    assert float(state["w"][0]) == 0
