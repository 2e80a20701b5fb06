"""The Inception of published FIDs: its weights file, and with made-up weights the numbers of the reference.

Weights are drawn by their names in the file, so a name that is taken for another shows in every number. With gain 1
nearly nothing of an image is left in its features; with gain sqrt(2) (`gain2`) images differ, which is the sharp check.
"""

import hashlib
import io
import pickle
import urllib.error
import zipfile
import zlib
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.metrics import inception, inception_weights, is_inception
from scorejax.runtime.errors import RunError

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
GAINS = {"inception_rule_32px": 1.0, "inception_rule_gain2_32px": np.sqrt(2)}


def rule(name, shape, gain):
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        return 1 + np.float32(0.1) * abs(z)
    if len(shape) >= 2:
        return z / np.float32(np.sqrt(np.prod(shape[1:]))) * np.float32(gain)
    return 1 + np.float32(0.1) * z if name.endswith("weight") else np.float32(0.1) * z


def write(path, saved):
    """A file in the format of torch.save; arrays stand for tensors."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(saved, protocol=2))
    return path


@pytest.fixture(scope="module", params=GAINS)
def reference(request, tmp_path_factory):
    """Name of the golden file, the file, the network that reads its weights from the disk, and those weights."""
    shapes = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(inception.variable_shapes()):
        _, *modules, kind = (part.key for part in path)  # the first is the collection
        shape = leaf.shape
        shapes[".".join((*modules, KINDS[kind]))] = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape
    shapes |= {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    weights = {name: rule(name, shape, GAINS[request.param]) for name, shape in shapes.items()}
    path = write(tmp_path_factory.mktemp("weights") / "w.pth", weights)
    golden = np.load(GOLDEN / f"{request.param}.npz")
    network = inception.InceptionV3(path)
    assert network.name == f"inception-v3-2015-12-05-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    variables = inception_weights.read(path, inception.variable_shapes()).variables
    path.unlink()  # 96 MB
    return request.param, golden, network, weights, variables


@pytest.mark.slow
def test_features_are_those_of_the_reference(reference):
    name, golden, network, weights, _ = reference
    images, wanted = golden["images_uint8_nchw"].transpose(0, 2, 3, 1), golden["pool3_2048"]
    features = np.asarray(network(jnp.asarray(images)))
    between = np.sqrt(wanted.var(axis=0).mean())
    tolerance = 1e-3 * between if "gain2" in name else 1e-4 * wanted.std()
    assert np.abs(features - wanted).max() < tolerance
    # 1,008 classes, without the bias of the last layer
    logits = features.astype(float) @ weights["fc.weight"].T.astype(float)
    np.testing.assert_allclose(np.diff(network.log_probabilities(features)), np.diff(logits), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.exp(network.log_probabilities(features)).sum(1), 1, rtol=1e-12)


@jax.jit
def probes(variables, images):
    """Outputs on the way, as the reference counts its blocks."""
    names = ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_6e")
    resized = inception.resize(images)
    _, seen = inception.Inception().apply(
        variables, resized, capture_intermediates=lambda module, _: module.name in names, mutable="intermediates"
    )
    first, second, third = (seen["intermediates"][name]["__call__"][0] for name in names)
    halved = (nn.max_pool(x, (3, 3), (2, 2)) for x in (first, second))
    return dict(zip(("resized", "block0_64", "block1_192", "block2_768"), (resized, *halved, third), strict=True))


@pytest.mark.slow
def test_the_blocks_and_the_resized_images_are_those_of_the_reference(reference):
    _, golden, *_, variables = reference
    found = probes(variables, jnp.asarray(golden["images_uint8_nchw"].transpose(0, 2, 3, 1)))
    for name, value in found.items():
        value = np.asarray(value).transpose(0, 3, 1, 2)
        assert value.shape == tuple(golden[f"{name}_shape"])
        np.testing.assert_allclose(value.mean(), golden[f"{name}_mean"], atol=1e-5 * golden[f"{name}_std"])
        error = np.abs(value.reshape(-1)[golden[f"{name}_idx"]] - golden[f"{name}_vals"]).max()
        assert error < 2e-5 * golden[f"{name}_std"], name


def test_resizing_takes_the_two_nearest_pixels_also_where_images_shrink():
    """Half-pixel centres, edges repeated, no antialiasing, on a ramp: a straight line of the new slope."""
    for side in (32, 512):
        ramp = np.arange(side, dtype=np.float32) / 2
        images = np.broadcast_to(ramp[:, None, None], (1, side, side, 1))
        got = np.asarray(inception.resize(jnp.asarray(images)))
        centres = (np.arange(299) + 0.5) * side / 299 - 0.5
        expected = 2 * np.clip(centres, 0, side - 1) / 2 / 255 - 1
        assert got.shape == (1, 299, 299, 3)
        np.testing.assert_allclose(got, np.broadcast_to(expected[:, None, None], got[0].shape)[None], atol=1e-5)
    spike = np.zeros((1, 598, 598, 1), np.float32)
    spike[0, 1::4] = 255  # with antialiasing every new pixel would see a spike or a part of one
    assert np.asarray(inception.resize(jnp.asarray(spike)))[0, :, 0, 0].min() == -1


@pytest.fixture
def small():
    """A weights file of one convolution, and the shapes that fit it."""
    rng = np.random.default_rng(0)
    shapes = {"a.conv.weight": (4, 3, 1, 2), "a.bn.weight": (4,), "a.bn.bias": (4,), "fc.weight": (1008, 2048)}
    shapes |= {"a.bn.running_mean": (4,), "a.bn.running_var": (4,)}
    saved = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}

    def leaf(*shape):
        return jax.ShapeDtypeStruct(shape, np.float32)

    tree = {
        "params": {"a": {"conv": {"kernel": leaf(1, 2, 3, 4)}, "bn": {"scale": leaf(4), "bias": leaf(4)}}},
        "batch_stats": {"a": {"bn": {"mean": leaf(4), "var": leaf(4)}}},
    }
    return saved, tree


def test_weights_go_to_the_places_that_their_names_say(small, tmp_path):
    saved, tree = small
    read = inception_weights.read(write(tmp_path / "w.pth", saved), tree)
    assert jax.tree.map(np.shape, read.variables) == jax.tree.map(lambda leaf: leaf.shape, tree)
    kernel = read.variables["params"]["a"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel[0, 1, 2, 3], saved["a.conv.weight"][3, 2, 0, 1])
    np.testing.assert_array_equal(read.variables["params"]["a"]["bn"]["scale"], saved["a.bn.weight"])
    np.testing.assert_array_equal(read.variables["batch_stats"]["a"]["bn"]["var"], saved["a.bn.running_var"])
    np.testing.assert_array_equal(read.classifier, saved["fc.weight"].T)


def test_other_files_are_refused_with_the_first_thing_that_is_wrong(small, tmp_path):
    saved, tree = small
    for name in ("a.bn.running_var", "fc.weight"):
        lacking = {key: value for key, value in saved.items() if key != name}
        for wrong in (lacking, {**lacking, name: np.zeros((7, 7), np.float32)}):
            with pytest.raises(RunError, match=rf"1 of its 6 weights.*{name}.*https://"):
                inception_weights.read(write(tmp_path / "w.pth", wrong), tree)
    with pytest.raises(RunError, match="holds a list"):
        inception_weights.read(write(tmp_path / "w.pth", [1]), tree)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache folder, and no network."""
    monkeypatch.setenv("SCOREJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SCOREJAX_INCEPTION", raising=False)

    def refuse(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return tmp_path / "cache" / "pt_inception-2015-12-05-6726825d.pth"


def test_a_path_comes_before_the_variable_and_the_variable_before_the_cache(cache, monkeypatch, tmp_path):
    with pytest.raises(RunError, match=r"no network.*put the file https://.* at .*/cache/pt_inception.*SCOREJAX_INCEP"):
        inception_weights.find()
    assert not list(cache.parent.iterdir())
    cache.touch()
    assert inception_weights.find() == cache
    monkeypatch.setenv("SCOREJAX_INCEPTION", str(tmp_path / "mine.pth"))
    with pytest.raises(RunError, match=r"mine\.pth, where \$SCOREJAX_INCEPTION points"):
        inception_weights.find()
    (tmp_path / "mine.pth").touch()
    assert inception_weights.find() == tmp_path / "mine.pth"
    with pytest.raises(RunError, match="asked for"):
        inception_weights.find(tmp_path / "other.pth")


def test_a_download_counts_only_when_its_checksum_is_right(cache, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: io.BytesIO(b"weights"))
    with pytest.raises(RunError, match="SHA-256"):
        inception_weights.find()
    assert not list(cache.parent.iterdir())
    monkeypatch.setattr(inception_weights, "SHA256", hashlib.sha256(b"weights").hexdigest())
    assert inception_weights.find().read_bytes() == b"weights"


def test_only_inception_is_called_so_and_only_one_file_is_the_published_one():
    published, other = "inception-v3-2015-12-05-6726825d", "inception-v3-2015-12-05-00000000"
    assert is_inception(published) and is_inception(other) and is_inception(published, published=True)
    assert not is_inception(other, published=True)
    assert not is_inception("random-conv-v1") and not is_inception("mnist_classifier-v1")
