"""The data front end: every format gives the same images, every fault of a file one coded error."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct

import numpy as np
import pytest

from absint.errors import AbsintError, InputError, PluginError
from absint.frontends.data import DataFrontEnd
from absint.frontends.data_source import Content, register_reader

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5], dtype=np.uint8)
EXACT = IMAGES.astype(np.float64) / 255.0


def idx(array, kind=0x08, dtype=">u1"):
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.astype(dtype).tobytes()


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def rows(values=IMAGES, labels=LABELS):
    lines = zip(labels, values.reshape(len(values), -1), strict=True)
    return "".join(",".join(map(str, [label, *row])) + "\n" for label, row in lines)


@pytest.fixture
def write(tmp_path):
    def to(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to


def read(*arguments):
    return DataFrontEnd().read(*arguments)


def fault(path, code, *words, labels=None):
    """The one error that reading `path` gives, which names the file and holds every word."""
    with pytest.raises(InputError) as caught:
        read(path, labels)
    text = caught.value.render()
    assert caught.value.code == code, text
    assert str(labels if labels is not None else path) in text or str(path) in text
    for word in words:
        assert word in text, text
    return caught.value


def outcome(path):
    """"read", or the code of the error."""
    try:
        read(path)
    except AbsintError as error:
        return error.code
    return "read"


# --- formats ---


@pytest.mark.parametrize(
    ("images", "labels", "unzip"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", False),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", True),
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte", False),
        ("v1.0-images-idx3-ubyte.gz", "v1.0-labels-idx1-ubyte", True),
    ],
)
def test_idx_with_its_sibling(write, images, labels, unzip):
    raw = gzip.compress(idx(IMAGES)) if unzip else idx(IMAGES)
    path = write(images, raw)
    write(labels, gzip.compress(idx(LABELS)) if labels.endswith(".gz") else idx(LABELS))
    data = read(path)
    assert np.array_equal(data.inputs, EXACT)
    assert np.array_equal(data.labels, LABELS)
    assert data.sha256 != hashlib.sha256(raw).hexdigest()  # the labels belong to it; tests/model/test_model_hash.py
    assert data.name == str(path)
    assert data.notes == ("uint8 values divided by 255", f"labels read from {labels}")


def test_idx_without_labels_and_with_labels_given(write):
    path = write("images.idx", idx(IMAGES))
    assert read(path).labels is None
    assert np.array_equal(read(path, write("other.idx1-ubyte", idx(LABELS))).labels, LABELS)
    assert np.array_equal(read(str(path), str(write("l.npy", npy(LABELS[:, None].astype(float))))).labels, LABELS)
    assert np.array_equal(read(path, write("l.txt", "label\n" + "".join(f"{n}\n" for n in LABELS))).labels, LABELS)
    assert np.array_equal(read(path, write("l.npz", npz(targets=LABELS))).labels, LABELS)


def test_labels_given_win_over_a_damaged_sibling(write):
    path = write("a-images-idx3-ubyte", idx(IMAGES))
    write("a-labels-idx1-ubyte", b"junk")
    assert np.array_equal(read(path, write("l.npy", npy(LABELS))).labels, LABELS)


def test_idx_of_other_types_is_not_scaled(write):
    values = IMAGES.astype(np.float32) / 3
    data = read(write("x.idx", idx(values, 0x0D, ">f4")))
    assert np.array_equal(data.inputs, values.astype(np.float64))
    assert data.notes == ()


@pytest.mark.parametrize("key", ["images", "x", "inputs", "X"])
@pytest.mark.parametrize("label_key", ["labels", "y", "targets"])
def test_npz_keys(write, key, label_key):
    data = read(write("d.npz", npz(**{key: IMAGES, label_key: LABELS, "extra": np.zeros(2)})))
    assert np.array_equal(data.inputs, EXACT)
    assert np.array_equal(data.labels, LABELS)
    assert f"'{key}'" in data.notes[0]


def test_npz_without_labels(write):
    assert read(write("d.npz", npz(x=IMAGES))).labels is None


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.bool_])
def test_npy_of_other_types_is_kept(write, dtype):
    values = (IMAGES / 7).astype(dtype)
    data = read(write("x.npy", npy(values)))
    assert np.array_equal(data.inputs, values.astype(np.float64))
    assert data.labels is None
    assert data.notes == ()


def test_content_decides_where_the_extension_is_unknown(write):
    for name, content in (("a.data", npy(IMAGES)), ("b", npz(x=IMAGES)), ("c.bin.gz", gzip.compress(idx(IMAGES)))):
        assert np.array_equal(read(write(name, content)).inputs, EXACT)


@pytest.mark.parametrize("header", ["", "label," + ",".join(f"p{i}" for i in range(12)) + "\n",
                                    "label," + ",".join(map(str, range(12))) + "\n"])
@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.csv.gz"])
def test_csv_of_whole_numbers_is_divided(write, header, name):
    text = "\ufeff" + header + rows().replace("\n", "\r\n") + "\n"
    data = read(write(name, gzip.compress(text.encode()) if name.endswith("gz") else text))
    assert np.array_equal(data.inputs, EXACT.reshape(5, 12))
    assert np.array_equal(data.labels, LABELS)
    assert any("divided by 255" in note for note in data.notes)
    assert ("header line skipped" in data.notes) == bool(header)


def test_csv_of_fractions_and_of_other_values_is_kept(write):
    data = read(write("a.csv", rows(EXACT)))
    assert np.array_equal(data.inputs, EXACT.reshape(5, 12))
    assert "[0, 1]" in data.notes[0]
    assert read(write("b.csv", "1,0,1\n0,1,1\n")).inputs.tolist() == [[0, 1], [1, 1]]
    assert read(write("c.csv", "1,-2.5,300\n")).inputs.tolist() == [[-2.5, 300]]
    assert read(write("d.csv", "1,2,256\n")).inputs.tolist() == [[2, 256]]


def test_csv_labels_can_be_replaced(write):
    data = read(write("a.csv", rows()), write("l.npy", npy(LABELS + 1)))
    assert np.array_equal(data.labels, LABELS + 1)


# --- faults of files ---


def test_missing_and_empty(tmp_path, write):
    fault(tmp_path / "nowhere.npz", "E-DATA-MISSING", "no such file")
    fault(tmp_path, "E-DATA-EMPTY", "folder")
    fault(write("e.npy", b""), "E-DATA-EMPTY")
    fault(write("e.csv.gz", gzip.compress(b"")), "E-DATA-EMPTY", "unzipped")
    fault(write("e.csv", "\n \n"), "E-DATA-EMPTY")
    fault(write("h.csv", "label,a,b\n"), "E-DATA-EMPTY", "no rows")
    fault(write("z.npy", npy(np.zeros((0, 3)))), "E-DATA-EMPTY", "(0, 3)")
    fault(write("z.idx", idx(np.zeros((0, 2, 2)))), "E-DATA-EMPTY")
    fault(write("ok.npy", npy(IMAGES)), "E-DATA-MISSING", labels=tmp_path / "none.npy")


@pytest.mark.parametrize("name", ["a.idx", "a.npy", "a.npz", "a.idx.gz"])
def test_every_truncation_is_a_coded_error(write, name):
    whole = {"a.idx": idx(IMAGES), "a.npy": npy(IMAGES), "a.npz": npz(x=IMAGES), "a.idx.gz": gzip.compress(idx(IMAGES))}
    for length in range(1, len(whole[name])):
        assert outcome(write(name, whole[name][:length])) in {"E-DATA-TRUNCATED", "E-DATA-FORMAT"}
    fault(write(name, whole[name][:-3]), "E-DATA-TRUNCATED")


def test_every_flipped_byte_is_read_or_refused(write):
    for name, whole in (("a.npz", npz(x=IMAGES)), ("a.idx.gz", gzip.compress(idx(IMAGES))), ("a.npy", npy(IMAGES))):
        for position in range(len(whole)):
            damaged = bytearray(whole)
            damaged[position] ^= 0x55
            assert outcome(write(name, bytes(damaged))).startswith(("read", "E-DATA-"))


def test_idx_says_what_its_header_claims(write):
    fault(write("a.idx", idx(IMAGES)[:-10]), "E-DATA-TRUNCATED", "(5, 4, 3)", "60 bytes", "50 bytes")
    fault(write("a.idx", idx(IMAGES) + b"x"), "E-DATA-FORMAT", "61 bytes")
    fault(write("a.idx", b"\x00\x00\x07\x03" + b"\x00" * 12), "E-DATA-FORMAT", "00 00 07 03")
    fault(write("a.idx", idx(LABELS)), "E-DATA-FORMAT", "labels, not images")
    huge = b"\x00\x00\x08\x03" + b"\xff" * 12
    fault(write("a.idx", huge), "E-DATA-TRUNCATED")


def test_a_huge_npy_header_is_a_coded_error(write):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (10**15, 4)})
    fault(write("a.npy", stream.getvalue() + b"123"), "E-DATA-TRUNCATED", "header")


def test_unknown_format_lists_the_known(write):
    error = fault(write("a.xyz", "hello"), "E-DATA-FORMAT", "'.xyz'")
    assert ".npz" in error.hint
    fault(write("noextension", "hello"), "E-DATA-FORMAT", "noextension")
    fault(write("a.npy", "hello"), "E-DATA-FORMAT", "numpy.save")
    fault(write("a.npz", "hello"), "E-DATA-FORMAT", "numpy.savez")
    fault(write("a.npz", npz(a=IMAGES, b=LABELS)), "E-DATA-FORMAT", "found: a, b")
    fault(write("a.npz", npz(y=LABELS)), "E-DATA-FORMAT", "images")
    fault(write("a.csv", b"\xff\xfe\x00"), "E-DATA-FORMAT", "UTF-8")
    fault(write("a.csv", '1,"2\n'), "E-DATA-FORMAT", "CSV")
    fault(write("a.csv", "1\n2\n"), "E-DATA-FORMAT", "at least one value")
    fault(write("a.npy", npy(np.array([["a", "b"]]))), "E-DATA-FORMAT", "<U1")
    fault(write("a.npy", npy(np.array([[1j]]))), "E-DATA-FORMAT", "complex128")


def test_pickles_are_never_loaded(write):
    ragged = np.array([[1, 2], [3]], dtype=object)
    fault(write("a.npy", npy(ragged, allow_pickle=True)), "E-DATA-PICKLE", "pickled")
    fault(write("b.npy", pickle.dumps([1, 2])), "E-DATA-PICKLE")
    fault(write("a.npz", npz(images=ragged)), "E-DATA-PICKLE")
    fault(write("b.npz", npz(images=IMAGES, labels=ragged)), "E-DATA-PICKLE")


def test_ragged_and_non_numeric_rows_are_located(write):
    fault(write("a.csv", "1,2,3\n\n4,5,6\n7,8\n"), "E-DATA-RAGGED", "line 4 has 2 cells", "line 1 has 3")
    fault(write("a.csv", "label,a,b\n4,5,6,9\n7,8,9\n"), "E-DATA-RAGGED", "line 3", "line 2")
    fault(write("a.csv", "1,2,3\n4,five,6\n"), "E-DATA-CELL", "line 2, column 2", "'five'")
    fault(write("a.csv", "1,2,3\n4,,6\n"), "E-DATA-CELL", "line 2, column 2", "''")
    fault(write("a.csv", "1,2,3\n4,1_0,6\n"), "E-DATA-CELL", "1_0")
    fault(write("a.csv", "seven,2,3\n4,5,6\n"), "E-DATA-CELL", "line 1, column 1")


def test_inputs_without_a_batch_axis(write):
    fault(write("a.npy", npy(np.zeros(784))), "E-DATA-SHAPE", "(784,)")
    fault(write("a.npy", npy(np.float64(3))), "E-DATA-SHAPE", "one number")


def test_label_faults(write):
    path = write("a-images-idx3-ubyte", idx(IMAGES))
    write("a-labels-idx1-ubyte", idx(LABELS[:3]))
    fault(path, "E-DATA-LABELS", "5 inputs", "3 labels")
    fault(path, "E-DATA-LABELS", "(5, 3)", "one-hot", labels=write("hot.npy", npy(np.zeros((5, 3)))))
    fault(path, "E-DATA-LABELS", "0.5 of input 1", labels=write("half.npy", npy(np.array([1, 0.5, 1, 1, 1]))))
    fault(path, "E-DATA-LABELS", "nan", labels=write("nan.npy", npy(np.array([np.nan, 0, 1, 1, 1]))))
    fault(path, "E-DATA-LABELS", "text such as", labels=write("text.npy", npy(np.array(list("abcde")))))
    fault(write("c.csv", "1.5,2,3\n"), "E-DATA-LABELS", "1.5")
    fault(write("d.npz", npz(x=IMAGES, y=LABELS[:2])), "E-DATA-LABELS", "2 labels")


# --- extension ---


def test_a_stranger_adds_a_format_in_one_function(write):
    @register_reader(".tsv")
    def read_tsv(source):
        table = np.loadtxt(io.BytesIO(source.data), delimiter="\t", ndmin=2)
        return Content(table[:, 1:], table[:, 0], ("tab separated",))

    data = read(write("a.tsv", "7\t0.5\t0.25\n"))
    assert data.inputs.tolist() == [[0.5, 0.25]]
    assert data.labels.tolist() == [7]
    assert data.notes == ("tab separated",)
    assert np.array_equal(read(write("b.idx", idx(IMAGES[:1])), write("l.tsv", "2\t0\n")).labels, [2])


@pytest.mark.parametrize(("result", "code"), [(None, "E-PLUGIN-CONTRACT"), (1 / 3, "E-PLUGIN-CONTRACT"),
                                              (ZeroDivisionError("boom"), "E-PLUGIN-RAISED")])
def test_a_broken_reader_is_one_coded_error(write, result, code):
    @register_reader(".bad")
    def read_bad(source):
        if isinstance(result, Exception):
            raise result
        return result

    with pytest.raises(PluginError) as caught:
        read(write("a.bad", "1"))
    assert caught.value.code == code
    assert ".bad" in caught.value.what
