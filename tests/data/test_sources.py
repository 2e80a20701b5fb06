import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scorejax.data import GAUSSIAN_COVARIANCE, GAUSSIAN_MEAN, SOURCES, Dataset, gaussian_entropy, load

REAL = Path(os.environ.get("SCOREJAX_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data" / "tfds")


def test_digits_are_split_for_good_and_evenly_over_the_classes():
    train, test = load("digits"), load("digits", "test")
    assert (train.examples.shape, test.examples.shape) == ((1500, 8, 8, 1), (297, 8, 8, 1))
    assert train.gray_levels == test.gray_levels == 17
    assert train.examples.max() == 16
    share = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    np.testing.assert_allclose(share, 297 / 1797, atol=1 / 174)
    assert not {x.tobytes() for x in train.examples} & {x.tobytes() for x in test.examples}


def test_the_gaussian_has_the_published_moments_and_entropy():
    data = load("gaussian").examples.astype(np.float64)
    centred = data - GAUSSIAN_MEAN
    sd = np.sqrt(np.diag(GAUSSIAN_COVARIANCE))
    assert np.all(np.abs(centred.mean(0)) < 6 * sd / np.sqrt(len(data)))
    np.testing.assert_allclose(
        centred.T @ centred / len(data), GAUSSIAN_COVARIANCE, atol=6 * 4 * 1.5 / np.sqrt(len(data))
    )
    mahalanobis = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(GAUSSIAN_COVARIANCE), centred)
    nats = 0.5 * (mahalanobis + np.linalg.slogdet(2 * np.pi * GAUSSIAN_COVARIANCE)[1])
    assert abs(nats.mean() - gaussian_entropy()) < 6 * nats.std() / np.sqrt(len(data))


@pytest.mark.parametrize("name", ["moons", "gaussian"])
def test_synthetic_sets_follow_their_seed_and_keep_splits_apart(name):
    a, b, c = load(name, seed=1), load(name, seed=1), load(name, seed=2)
    np.testing.assert_array_equal(a.examples, b.examples)
    assert not np.array_equal(a.examples, c.examples)
    test = load(name, "test", seed=1).examples
    assert not {x.tobytes() for x in a.examples} & {x.tobytes() for x in test}


def test_moons_lie_on_their_half_circles():
    data = load("moons", "test")
    centre = np.where(data.labels[:, None] == 0, [0.0, 0.0], [1.0, 0.5])
    radius = np.linalg.norm(data.examples - centre, axis=1)
    assert abs(radius.mean() - 1) < 0.01
    assert radius.std() < 0.06


def write_folder(root, count=30):
    for i in range(count):
        file = root / ("cats" if i % 3 else "dogs") / f"{i:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), i, np.uint8)).save(file)


def test_a_folder_splits_by_file_name_and_labels_by_sub_folder(tmp_path):
    write_folder(tmp_path / "pets")
    kwargs = {"path": tmp_path / "pets", "cache_dir": tmp_path / "cache"}
    train, test = load("folder", **kwargs), load("folder", "test", **kwargs)
    assert train.label_names == test.label_names == ("cats", "dogs")
    values = np.concatenate([train.examples[:, 0, 0, 0], test.examples[:, 0, 0, 0]])
    np.testing.assert_array_equal(np.sort(values), np.arange(30))
    assert 0 < len(test) < 10
    np.testing.assert_array_equal(train.labels, train.examples[:, 0, 0, 0] % 3 == 0)
    write_folder(tmp_path / "pets", 60)  # more files: none changes its split
    assert set(test.examples[:, 0, 0, 0]) <= set(load("folder", "test", **kwargs).examples[:, 0, 0, 0])


def test_a_folder_with_its_own_splits_keeps_them(tmp_path):
    write_folder(tmp_path / "train", 6)
    write_folder(tmp_path / "test", 1)  # only a dog: the classes are still numbered over both splits
    kwargs = {"path": tmp_path, "cache_dir": tmp_path / "cache"}
    assert len(load("folder", **kwargs)) == 6
    assert load("folder", "test", **kwargs).labels.tolist() == [1]


def test_images_of_mixed_size_need_a_size_and_get_the_centre(tmp_path):
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, 4:12] = 200
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(np.full((9, 9), 200, np.uint8)).save(tmp_path / "b.jpg", quality=100)
    kwargs = {"path": tmp_path, "cache_dir": tmp_path / "cache"}
    from scorejax.data.folder import folder

    with pytest.raises(ValueError, match="size=N"):
        folder("train", path=tmp_path, test_fraction=0.0, cache_dir=kwargs["cache_dir"])
    data = folder("train", path=tmp_path, size=4, test_fraction=0.0, cache_dir=kwargs["cache_dir"])
    assert data.labels is None
    assert data.shape == (4, 4, 3)
    assert np.all(np.abs(data.examples.astype(int) - 200) <= 1)


def test_a_crop_cuts_the_centre_before_resizing_and_nothing_from_smaller_images(tmp_path):
    from scorejax.data.folder import folder

    picture = np.zeros((12, 16, 3), np.uint8)
    picture[3:9, 5:11] = 200
    Image.fromarray(picture).save(tmp_path / "a.png")
    options = {"test_fraction": 0.0, "cache_dir": tmp_path / "cache"}
    assert (folder("train", path=tmp_path, crop=6, **options).examples == 200).all()
    data = folder("train", path=tmp_path, crop=6, size=3, **options)
    assert data.shape == (3, 3, 3)
    assert (data.examples == 200).all()
    assert folder("train", path=tmp_path, crop=100, size=12, **options).examples.mean() < 60


def test_grey_folders_have_one_channel(tmp_path):
    for i in range(20):
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(tmp_path / f"{i}.png")
    assert load("folder", path=tmp_path, cache_dir=tmp_path / "c").shape == (4, 4, 1)


def test_npz_files_give_images_or_vectors(tmp_path):
    x = np.arange(20 * 4, dtype=np.uint8).reshape(20, 2, 2)
    np.savez(tmp_path / "a.npz", x=x, labels=np.arange(20) % 4)
    train, test = (load("npz", s, path=tmp_path / "a.npz") for s in ("train", "test"))
    assert (len(train), len(test), train.shape, train.num_classes) == (18, 2, (2, 2, 1), 4)
    np.testing.assert_array_equal(np.sort(np.concatenate([train.examples, test.examples]).ravel()), x.ravel())
    np.savez(tmp_path / "b.npz", train=np.zeros((5, 3)), test=np.ones((2, 3)))
    vectors = load("npz", "test", path=tmp_path / "b.npz")
    assert (vectors.gray_levels, vectors.examples.dtype, len(vectors)) == (None, np.float64, 2)


@pytest.mark.parametrize("shape", [(20, 3), (20, 2, 3)])
def test_labels_of_an_npz_file_may_be_embeddings(tmp_path, shape):
    labels = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    np.savez(tmp_path / "a.npz", x=np.zeros((20, 2)), labels=labels)
    train, test = (load("npz", s, path=tmp_path / "a.npz") for s in ("train", "test"))
    assert train.embeddings and train.labels.dtype == np.float32 and train.num_classes == 0
    np.testing.assert_array_equal(test.labels, labels[[9, 19]])


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"y": np.zeros((2, 2))}, "wanted 'x'"),
        ({"x": np.zeros((20, 2, 2, 2)) * 1j}, "two channels"),
    ],
)
def test_npz_files_of_other_kinds_are_refused_with_the_reason(tmp_path, stored, message):
    np.savez(tmp_path / "a.npz", **stored)
    with pytest.raises(ValueError, match=message):
        load("npz", path=tmp_path / "a.npz")


@pytest.fixture(scope="module")
def prepared_dir(tmp_path_factory):
    import tiny_images

    root = tmp_path_factory.mktemp("tfds")
    for builder in (tiny_images.TinyImages, tiny_images.MixedSizes):
        builder(data_dir=str(root), file_format="array_record").download_and_prepare()
    return root


def test_prepared_sets_are_read_without_tensorflow(prepared_dir, tmp_path):
    import tiny_images

    data = load("tiny_images", data_dir=prepared_dir, cache_dir=tmp_path)
    expected = {tiny_images.image(i).tobytes(): i % 3 for i in range(12)}
    assert {x.tobytes(): k for x, k in zip(data.examples, data.labels.tolist(), strict=True)} == expected
    assert (data.gray_levels, data.num_classes, data.shape) == (256, 3, (8, 8, 3))
    assert len(load("tiny_images:1.0.0", "train[:25%]", data_dir=prepared_dir, cache_dir=tmp_path)) == 3
    assert load("tiny_images", "test", data_dir=prepared_dir, cache_dir=tmp_path, size=4).shape == (4, 4, 3)
    assert "tensorflow" not in sys.modules


def test_decoded_sets_are_cached_until_the_set_changes(prepared_dir, tmp_path):
    """Records that turn to zeros behind the cache's back go unseen; a new time on the file shows them."""
    sets, cache = shutil.copytree(prepared_dir, tmp_path / "sets"), tmp_path / "cache"
    first = load("tiny_images", data_dir=sets, cache_dir=cache)
    record = next((sets / "tiny_images" / "1.0.0").glob("*train*"))
    before = record.stat()
    record.write_bytes(bytes(before.st_size))
    os.utime(record, ns=(before.st_atime_ns, before.st_mtime_ns))
    np.testing.assert_array_equal(load("tiny_images", data_dir=sets, cache_dir=cache).examples, first.examples)
    os.utime(record, ns=(1, 1))
    with pytest.raises(Exception, match=r"(?i)record|riegeli|invalid|corrupt"):
        load("tiny_images", data_dir=sets, cache_dir=cache)
    assert not list(cache.glob("*.partial"))


def test_prepared_images_of_mixed_size_need_a_size(prepared_dir, tmp_path):
    with pytest.raises(ValueError, match="size=N"):
        load("mixed_sizes", data_dir=prepared_dir, cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())
    assert load("mixed_sizes", data_dir=prepared_dir, cache_dir=tmp_path, size=6).shape == (6, 6, 3)


def test_missing_data_names_the_place_and_the_command(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load("mnist", data_dir=tmp_path)
    assert f"{tmp_path}/mnist" in str(error.value)
    assert f"tfds build mnist --file_format=array_record --data_dir={tmp_path}" in str(error.value)
    assert "\n" not in str(error.value)


def test_other_file_formats_name_the_conversion(tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text('{"name": "mnist", "fileFormat": "tfrecord"}')
    with pytest.raises(ValueError, match="tfds convert_format"):
        load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_description_of_a_prepared_set_is_named(tmp_path, content):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(content)
    with pytest.raises(ValueError, match=r"dataset_info\.json is damaged: .*; prepare the set again"):
        load("mnist", data_dir=tmp_path)


def test_unknown_names_and_splits_list_the_choices(tmp_path):
    with pytest.raises(
        ValueError, match="digits, moons, gaussian, random_field, eeg, elevation, diabetes, folder, npz"
    ):
        load("digitz", data_dir=tmp_path)
    with pytest.raises(ValueError, match="'train' or 'test'"):
        load("digits", "valid")
    with pytest.raises(ValueError, match="path="):
        load("npz")


def own(split, *, count=3, shape=(2,)):
    """A source as a user writes one."""
    return Dataset("own", np.zeros((count, *shape), np.float32), np.arange(count, dtype=np.int32), num_classes=count)


def test_a_source_of_ones_own_is_loaded_like_any_other():
    assert len(load(own)) == 3 and len(load(own, count=5, classes=(1, 4))) == 2
    with pytest.raises(ValueError, match=r"'own' has no setting 'coutn'; its settings are: count, shape\."):
        load(own, coutn=5)
    with pytest.raises(ValueError, match=r"'x' is float64 of shape \(3,\); wanted tables .* store x\[:, None\]"):
        load(array)


def array(split):
    return np.zeros(3)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("digits", {"seed": 1}, "'digits' has no setting 'seed'; its settings are: none"),
        ("moons", {"size": 8, "path": "x"}, "'moons' has no setting 'size', 'path'; its settings are: seed, noise"),
        (
            "mnist",
            {"seed": 1},
            "'mnist' has no setting 'seed'; its settings are: data_dir, size, crop, feature, cache_dir",
        ),
        (
            "folder",
            {"size": 8},
            "'folder' needs path=...; its settings are: path, size, crop, alpha, depth, test_fraction, cache_dir",
        ),
        ("tfds", {}, "'tfds' needs dataset=..."),
    ],
)
def test_wrong_settings_list_those_of_the_source(name, settings, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        load(name, **settings)


def written(name, folder):
    """Settings with which each source in the table finds data in an empty folder."""
    if name == "folder":
        for split in ("train", "test"):
            write_folder(folder / split, 4)
        return {"path": folder, "cache_dir": folder / "cache"}
    if name == "npz":
        np.savez(folder / "x.npz", x=np.zeros((20, 3)))
        return {"path": folder / "x.npz"}
    if name == "csv":
        (folder / "x.csv").write_text("a,b\n" + 20 * "1,2.5\n", "utf-8")
        return {"path": folder / "x.csv"}
    if name == "hdf5":
        with pytest.importorskip("h5py").File(folder / "x.h5", "w") as file:
            file["x"] = np.zeros((20, 3))
        return {"path": folder / "x.h5"}
    if name == "zarr":
        pytest.importorskip("zarr").save_array(folder / "x.zarr", np.zeros((20, 3)))
        return {"path": folder / "x.zarr"}
    return {}


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "tfds"])
def test_every_source_has_two_splits_of_one_kind_and_refuses_others(name, tmp_path):
    """Of prepared sets, which know their splits themselves, the tests above say so."""
    settings = written(name, tmp_path)
    train, test = (load(name, split, **settings) for split in ("train", "test"))
    assert (train.shape, train.gray_levels, train.num_classes) == (test.shape, test.gray_levels, test.num_classes)
    with pytest.raises(ValueError, match="'train' or 'test'"):
        load(name, "valid", **settings)


def test_a_prepared_set_may_be_named_as_a_setting(prepared_dir, tmp_path):
    found = load("tfds", dataset="tiny_images", data_dir=prepared_dir, cache_dir=tmp_path)
    np.testing.assert_array_equal(
        found.examples, load("tiny_images", data_dir=prepared_dir, cache_dir=tmp_path).examples
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"examples": np.zeros((3, 2), np.uint8), "gray_levels": 256},
        {"examples": np.zeros((3, 2), np.complex64)},
        {"examples": np.zeros((0, 2), np.float32)},
        {"examples": np.zeros((3, 2), np.float32), "labels": np.zeros(2, np.int32), "num_classes": 1},
        {"examples": np.zeros((3, 2), np.float32), "labels": np.full(3, 4, np.int32), "num_classes": 4},
        {"examples": np.full((3, 2, 2, 1), 17, np.uint8), "gray_levels": 17},
        {"examples": np.zeros((3, 2, 2, 1), np.uint8), "gray_levels": 300},
        {"examples": [[0.0, 1.0]]},
        {"examples": np.zeros((3, 2), np.float32), "labels": [0, 0, 0], "num_classes": 1},
        {"examples": np.zeros((3, 2), np.float32), "num_classes": 2, "label_names": ("one",)},
    ],
)
def test_malformed_sets_are_refused(bad):
    with pytest.raises(ValueError, match="wrong: "):
        Dataset("wrong", **bad)


@pytest.mark.slow
def test_importing_the_package_loads_no_reader():
    readers = {"tensorflow_datasets", "sklearn", "PIL", "h5py", "zarr"}
    code = f"import sys, scorejax.data; print(sys.modules.keys() & {readers})"
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="no prepared MNIST; set SCOREJAX_TEST_DATA")
def test_mnist_has_its_official_size(tmp_path):
    test = load("mnist", "test", data_dir=REAL, cache_dir=tmp_path)
    assert (len(test), test.shape, test.num_classes) == (10_000, (28, 28, 1), 10)
    np.testing.assert_array_equal(np.bincount(test.labels), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
