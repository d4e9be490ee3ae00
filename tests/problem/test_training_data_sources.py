"""CIFAR's and SVHN's files: both versions, damaged and hostile ones too."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zlib

import numpy as np
import pytest
import scipy.io

from absint.errors import InputError
from absint.frontends import plain_pickle
from absint.problem.training_data import training_data

N = 3    # pictures a batch


def batches(count, classes=10):
    draw = np.random.default_rng(count)
    return [(draw.integers(0, 256, (N, 3, 32, 32), dtype=np.uint8), draw.integers(0, classes, N)) for _ in range(count)]


def py2_pickle(entries):
    """A dictionary as Python 2's cPickle wrote CIFAR's batches: protocol 2, every text and the array's bytes as BINSTRING."""
    def text(value):
        data = value if isinstance(value, bytes) else value.encode()
        return (b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data))) + data

    def array(value):
        made = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + b"K\x00\x85" + text("b") + b"\x87R"
        state = b"(K\x03" + text("|") + b"NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\x00tb"
        dtype = b"cnumpy\ndtype\n" + text("u1") + b"K\x00K\x01\x87R" + state
        shape = b"".join(b"J" + struct.pack("<i", size) for size in value.shape) + {1: b"\x85", 2: b"\x86"}[value.ndim]
        return made + b"(K\x01" + shape + dtype + b"\x89" + text(value.tobytes()) + b"tb"

    def written(value):
        if isinstance(value, np.ndarray):
            return array(value)
        if isinstance(value, list):
            return b"](" + b"".join(map(written, value)) + b"e"
        return b"K" + bytes([value]) if isinstance(value, int) else text(value)

    return b"\x80\x02}(" + b"".join(text(key) + written(value) for key, value in entries.items()) + b"u."


def python_batch(images, labels, name="labels", form="py2", coarse=False):
    entries = {"data": images.reshape(N, -1), name: [int(label) for label in labels], "batch_label": "batch 1 of 5",
               "filenames": [f"{k}.png" for k in range(N)]} | ({"coarse_labels": [0] * N} if coarse else {})
    if form == "py2":
        return py2_pickle(entries)
    keys = entries if isinstance(form, int) else {key.encode(): value for key, value in entries.items()}
    return pickle.dumps(keys, protocol=form if isinstance(form, int) else int(form.removeprefix("bytes")))


def binary_batch(images, labels, coarse=False):
    columns = [np.zeros((N, 1))] * coarse + [labels[:, None], images.reshape(N, -1)]
    return np.concatenate(columns, axis=1).astype(np.uint8).tobytes()


def cifar10(folder, version):
    folder.mkdir(parents=True)
    parts = batches(6)
    for k, (images, labels) in enumerate(parts, start=1):
        name = "test_batch" if k == 6 else f"data_batch_{k}"
        if version == "binary":
            (folder / f"{name}.bin").write_bytes(binary_batch(images, labels))
        else:
            (folder / name).write_bytes(python_batch(images, labels, form=version))
    return parts


def is_the_data(data, train, test, classes):
    for split, parts in ((data.train, train), (data.test, [test])):
        assert split.values.dtype == np.uint8
        assert np.array_equal(split.values, np.concatenate([images for images, _ in parts]))
        assert np.array_equal(split.labels, np.concatenate([labels for _, labels in parts]))
    assert data.classes == classes


@pytest.mark.parametrize("version", ["binary", "py2", 2, 3, 4, 5, "bytes2", "bytes4"])
@pytest.mark.parametrize("below", ["", "cifar-10-batches-py"])
def test_cifar10_in_every_version(tmp_path, version, below):
    *train, test = cifar10(tmp_path / "root" / below, version)
    is_the_data(training_data(tmp_path / "root"), train, test, 10)


@pytest.mark.parametrize("version", ["binary", "py2", 4])
def test_cifar100_trains_on_fine_labels(tmp_path, version):
    train, test = batches(2, 100)
    for name, (images, labels) in (("train", train), ("test", test)):
        if version == "binary":
            (tmp_path / f"{name}.bin").write_bytes(binary_batch(images, labels, coarse=True))
        else:
            (tmp_path / name).write_bytes(python_batch(images, labels, "fine_labels", version, coarse=True))
            (tmp_path / "meta").write_bytes(b"not read")
    data = training_data(tmp_path)
    is_the_data(data, [train], test, 100)
    assert any("fine" in note for note in data.notes)


def test_a_batch_is_verified_on_as_well(tmp_path):
    from absint.problem.data_frontend import read_data

    *_, (images, labels) = cifar10(tmp_path / "a", 4)
    cifar10(tmp_path / "b", "binary")
    for path in (tmp_path / "a" / "test_batch", tmp_path / "b" / "test_batch.bin"):
        data = read_data(path)
        assert np.array_equal(data.inputs, images / 255.0)
        assert np.array_equal(data.labels, labels)


def refused(path, code, *words, **options):
    with pytest.raises(InputError) as caught:
        training_data(path, **options)
    assert caught.value.code == code, caught.value
    assert caught.value.hint
    assert all(word in caught.value.render() for word in words), caught.value


def test_cifar_faults(tmp_path):
    cifar10(tmp_path / "a", "binary")
    (tmp_path / "a" / "data_batch_3.bin").unlink()
    refused(tmp_path / "a", "E-DATA-MISSING", "data_batch_3.bin")
    cifar10(tmp_path / "b", 2)
    (tmp_path / "b" / "test_batch").unlink()
    refused(tmp_path / "b", "E-DATA-TEST", "--hold-out")
    assert len(training_data(tmp_path / "b", hold_out=2).test) == 2
    images, labels = batches(1)[0]
    for name in ("train.bin", "test.bin"):
        (tmp_path / name).write_bytes(binary_batch(images, labels))
    (tmp_path / "c").mkdir()
    for name in ("train.bin", "test.bin"):
        (tmp_path / name).rename(tmp_path / "c" / name)
    refused(tmp_path / "c", "E-DATA-FORMAT", "CIFAR-100")
    refused(tmp_path, "E-DATA-AMBIGUOUS", "binary version")
    cifar10(tmp_path / "d", "binary")
    (tmp_path / "d" / "data_batch_2.bin").write_bytes(binary_batch(images, labels + 10))
    refused(tmp_path / "d", "E-DATA-LABEL", "data_batch_2.bin", "0..9")


@pytest.mark.parametrize(("entries", "code"), [
    ({"data": np.zeros((N, 3072), np.uint8)}, "E-DATA-PICKLE"),
    ({"labels": [0] * N}, "E-DATA-PICKLE"),
    ([1, 2], "E-DATA-PICKLE"),
    ({"data": np.zeros((N, 3071), np.uint8), "labels": [0] * N}, "E-DATA-SHAPE"),
    ({"data": np.zeros((N, 3072), np.float32), "labels": [0] * N}, "E-DATA-SHAPE"),
    ({"data": "text", "labels": [0] * N}, "E-DATA-SHAPE"),
    ({"data": np.zeros((N, 3072), np.uint8), "labels": [0] * (N - 1)}, "E-DATA-LABELS"),
    ({"data": np.zeros((N, 3072), np.uint8), "labels": [0, 1, 0.5]}, "E-DATA-LABELS"),
    ({"data": np.zeros((N, 3072), np.uint8), "labels": [0, 1, 10**30]}, "E-DATA-LABELS"),
    ({"data": np.zeros((N, 3072), np.uint8), "labels": [0, 1, 10]}, "E-DATA-LABEL"),
    ({"data": np.zeros((N, 3072), np.uint8), "labels": [0, 1, -1]}, "E-DATA-LABEL"),
    ({"data": np.array([{}] * N), "labels": [0] * N}, "E-DATA-PICKLE"),
])
def test_pickles_of_something_else(tmp_path, entries, code):
    (tmp_path / "batch.pkl").write_bytes(pickle.dumps(entries, protocol=4))
    refused(tmp_path / "batch.pkl", code, "batch.pkl")


class Runs:
    def __init__(self, function, *arguments):
        self.made = (function, arguments)

    def __reduce__(self):
        return self.made


def hostile(mark):
    """Pickles that would run something; `mark` is what the file would be called that they make."""
    command = f"touch {mark}"
    yield "os.system", pickle.dumps({"data": Runs(os.system, command), "labels": []}, protocol=2)
    yield "eval", pickle.dumps(Runs(eval, f"open({mark!r}, 'w')"), protocol=4)
    yield "deep in a list", pickle.dumps({"data": [[[Runs(os.system, command)]]]}, protocol=3)
    yield "old form", b"\x80\x02(S'" + command.encode() + b"'\nios\nsystem\n."
    yield "object", b"\x80\x02(cos\nsystem\nX" + struct.pack("<I", len(command)) + command.encode() + b"o."
    yield "new object", b"\x80\x02cos\nsystem\nX" + struct.pack("<I", len(command)) + command.encode() + b"\x85\x81."
    yield "by the stack", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(command)]) + command.encode() + b"\x85R."
    yield "through numpy", b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncos\nsystem\nK\x00\x85U\x01b\x87R."
    yield "another of numpy", b"\x80\x02cnumpy\nload\nU\x01x\x85R."
    yield "codecs", b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
    yield "outside", b"\x80\x02U\x01xQ."
    yield "numbered", b"\x80\x02\x82\x01."
    yield "attributes of a name", b"\x80\x02c_codecs\nencode\nN}U\x08__code__Ns\x86b."
    yield "state of a name", b"\x80\x02cnumpy\ndtype\n}U\x04callU\x01xsb."
    yield "call of a value", b"\x80\x02U\x01x)R."
    yield "a list as a dictionary", b"\x80\x02]K\x00K\x01s."
    yield "a dictionary as a list", b"\x80\x02}K\x00a."
    yield "array of objects", b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R."
    yield "a set", pickle.dumps({1, 2}, protocol=4)
    yield "an object", pickle.dumps(ValueError("x"), protocol=2)


def test_hostile_pickles_are_refused_and_not_run(tmp_path, monkeypatch):
    mark = tmp_path / "ran"
    monkeypatch.setattr(pickle, "loads", None)
    monkeypatch.setattr(pickle, "Unpickler", None)
    known = {name: dict(vars(one)) for name, one in plain_pickle._NAMES.items()}
    seen = 0
    for name, data in hostile(str(mark)):
        path = tmp_path / "data_batch_1"
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            training_data(path)
        assert caught.value.code == "E-DATA-PICKLE", (name, caught.value)
        assert not mark.exists(), name
        assert {name: vars(one) for name, one in plain_pickle._NAMES.items()} == known
        seen += 1
    assert seen > 15


def test_the_hostile_pickles_do_run_elsewhere(tmp_path):
    """What the test above refuses would have made the file."""
    ran = 0
    for name, data in hostile(str(tmp_path / "ran")):
        if name in ("os.system", "eval", "deep in a list", "old form", "by the stack"):
            pickle.loads(data)
            assert (tmp_path / "ran").exists(), name
            (tmp_path / "ran").unlink()
            ran += 1
    assert ran == 5


@pytest.mark.parametrize("data", [
    b"\x80\x02Nr\xff\xff\xff\xff0.",                     # a slot numbered 4 billion
    b"\x80\x02" + b")" + b"\x85" * 200_000 + b"K\x00s.",     # a tower of tuples
    b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x00s.",    # the same as a key
    b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f.",              # bytes without end
    b"\x80\x02cnumpy\ndtype\nU\x02u1\x85R\x8a\xff" + b"\x7f" * 255 + b".",
    b"\x80\x02" + b"](" * 100_000 + b".",
])
def test_pickles_that_would_take_all_memory_or_the_stack(tmp_path, data):
    (tmp_path / "data_batch_1").write_bytes(data)
    with pytest.raises(InputError, match=r"E-DATA-(PICKLE|TRUNCATED)"):
        training_data(tmp_path / "data_batch_1")


# --- SVHN -------------------------------------------------------------------------------------------------------------


def svhn(folder, name, count, seed=0, **changes):
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    digits = draw.integers(1, 11, (count, 1)).astype(np.uint8)
    digits[0] = 10
    scipy.io.savemat(folder / f"{name}_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": digits} | changes, do_compression=True)
    return images.transpose(0, 3, 1, 2), digits[:, 0] % 10


@pytest.mark.parametrize("below", ["", "svhn"])
def test_svhn(tmp_path, below):
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    train, test, extra = (svhn(folder, name, count, count) for name, count in (("train", 7), ("test", 4), ("extra", 5)))
    data = training_data(tmp_path)
    is_the_data(data, [train], test, 10)
    assert data.train.labels[0] == 0
    more = training_data(tmp_path, extra=True)
    is_the_data(more, [train, extra], test, 10)
    assert more.train.sha256 != data.train.sha256


def test_svhn_faults(tmp_path):
    svhn(tmp_path, "train", 7)
    refused(tmp_path, "E-DATA-TEST", "--test")
    refused(tmp_path, "E-DATA-MISSING", "extra_32x32.mat", extra=True)
    for changes, code in (
        ({"y": np.zeros((4, 1), np.uint8)}, "E-DATA-LABEL"), ({"y": np.full((4, 1), 11)}, "E-DATA-LABEL"),
        ({"y": np.ones((3, 1))}, "E-DATA-LABELS"), ({"y": np.full((4, 1), 1.5)}, "E-DATA-LABEL"), ({"y": "abcd"}, "E-DATA-LABELS"),
        ({"X": np.zeros((32, 32, 3, 4))}, "E-DATA-FORMAT"), ({"X": np.zeros((4, 4), np.uint8)}, "E-DATA-FORMAT"),
        ({"X": np.zeros((32, 32, 3, 0), np.uint8)}, "E-DATA-FORMAT"), ({"X": {"a": 1}}, "E-DATA-FORMAT"),
    ):
        svhn(tmp_path, "test", 4, **changes)
        with pytest.raises(InputError) as caught:
            training_data(tmp_path)
        assert caught.value.code in (code, "E-DATA-LABELS" if "X" in changes else code), (changes, caught.value)
        assert "test_32x32.mat" in caught.value.render()
    (tmp_path / "test_32x32.mat").write_bytes(b"MATLAB 7.3 MAT-file" + b" " * 105 + b"\x00\x02IM" + b"\x89HDF" * 10)
    refused(tmp_path, "E-DATA-FORMAT", "-v7")
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"Z": np.zeros(3)})
    (tmp_path / "test_32x32.mat").write_bytes(stream.getvalue())
    refused(tmp_path, "E-DATA-FORMAT", "no array X")


# --- MATLAB's files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deflated", [False, True])
def test_arrays_of_matlab_files_are_scipys(deflated):
    from pathlib import Path

    from absint.frontends.data_source import DataSource
    from absint.frontends.mat_files import mat_arrays

    draw = np.random.default_rng(2)
    held = {"b": draw.integers(0, 256, (4, 5, 3, 7), dtype=np.uint8), "d": draw.random((2, 3)), "f": np.float32([[1.5], [2]]),
            "i": np.int64([[1, 2**40, -3]]), "s": np.int16([[5]]), "none": np.zeros((3, 0)), "small": np.array([[1.0, 2.0, 250.0]])}
    others = {"c": np.ones((2, 2), complex), "t": "text", "r": {"q": 1.0}, "cell": np.array([[1, "a"]], dtype=object)}
    stream = io.BytesIO()
    scipy.io.savemat(stream, held | others, do_compression=deflated)
    found = mat_arrays(DataSource(Path("a.mat"), stream.getvalue()), (*held, *others))
    theirs = scipy.io.loadmat(io.BytesIO(stream.getvalue()))
    assert found.keys() == held.keys()
    for name, array in found.items():
        assert array.dtype == theirs[name].dtype, name
        assert np.array_equal(array, theirs[name]), name


def matlab_array(name, stored_type, stored, array_class, shape, order="<"):
    """An array's element, as MATLAB packs whole numbers into smaller types, in either order of bytes."""
    def element(kind, data):
        return struct.pack(f"{order}II", kind, len(data)) + data + b"\0" * (-len(data) % 8)

    inside = element(6, struct.pack(f"{order}II", array_class, 0)) + element(5, struct.pack(f"{order}{len(shape)}i", *shape))
    inside += element(1, name.encode()) + element(stored_type, stored)
    return b" " * 124 + struct.pack(f"{order}H", 0x100) + (b"IM" if order == "<" else b"MI") + element(14, inside)


@pytest.mark.parametrize("order", "<>")
def test_numbers_that_matlab_stored_in_a_smaller_type(order):
    from pathlib import Path

    from absint.frontends.data_source import DataSource
    from absint.frontends.mat_files import mat_arrays

    data = matlab_array("y", 4, np.array([1, 300, 2], f"{order}u2").tobytes(), 6, (3, 1), order)
    assert scipy.io.loadmat(io.BytesIO(data))["y"].tolist() == [[1.0], [300.0], [2.0]]
    found = mat_arrays(DataSource(Path("a.mat"), data), ("y",))["y"]
    assert found.dtype == np.float64
    assert found.tolist() == [[1.0], [300.0], [2.0]]
    beyond = matlab_array("y", 4, np.array([1, 300, 2], f"{order}u2").tobytes(), 9, (3, 1), order)
    with pytest.raises(InputError, match="beyond its type"):
        mat_arrays(DataSource(Path("a.mat"), beyond), ("y",))


def test_a_deflated_array_without_its_end(tmp_path):
    """Its tag says how long the deflated bytes are, and the values are whole; only the checksum behind them is not there."""
    data = matlab_array("y", 2, bytes([1, 2, 3]), 9, (3, 1))
    header, packed = data[:128], zlib.compress(data[128:])
    for cut, whole in ((0, True), (2, False)):
        packed = packed[: len(packed) - cut]
        (tmp_path / "a.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
        refused(tmp_path / "a.mat", "E-DATA-FORMAT" if whole else "E-DATA-TRUNCATED", "no array X" if whole else "damaged")
