"""What a user says of a data file: arrays and columns by name, a scale, a list of pictures; and what is found without being told."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import numpy as np
import pytest

from absint.errors import AbsintError, UsageError
from absint.problem.data_frontend import Reading, parse_scale, read_data

IMAGES = np.random.default_rng(3).integers(0, 256, (4, 6), dtype=np.uint8)
LABELS = np.array([2, 0, 1, 2])


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def text(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def refused(path, code, *words, **reading):
    with pytest.raises(AbsintError) as caught:
        read_data(path, None, Reading(**reading))
    said = caught.value.render()
    assert caught.value.code == code, said
    assert caught.value.hint
    assert all(word in said for word in words), said


# ---- arrays by name ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "labels"), [("x_test", "y_test"), ("X", "y"), ("data", "target"), ("data", "labels"),
                                                ("arr_0", "arr_1"), ("test_images", "test_labels"), ("features", "labels")])
def test_usual_names_are_known(tmp_path, images, labels):
    data = read_data(npz(tmp_path / "a.npz", **{"x_train": IMAGES[:1], "other": LABELS, images: IMAGES, labels: LABELS}))
    assert np.array_equal(data.inputs, IMAGES / 255)
    assert data.labels.tolist() == LABELS.tolist()
    assert any("x_train" in note and "--key" in note for note in data.notes)


def test_a_key_takes_its_own_labels_never_those_of_another_part(tmp_path):
    file = npz(tmp_path / "a.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[2:], adversarial=IMAGES[::-1])
    assert read_data(file).labels.tolist() == [1, 2]
    assert read_data(file, None, Reading(key="x_train")).labels.tolist() == LABELS.tolist()
    assert read_data(file, None, Reading(key="adversarial")).labels is None
    both = read_data(file, None, Reading(key="adversarial, y_train"))
    assert np.array_equal(both.inputs, IMAGES[::-1] / 255)
    assert both.labels.tolist() == LABELS.tolist()
    refused(file, "E-DATA-KEY", "no array 'x_tst'", "x_train", key="x_tst")
    refused(file, "E-DATA-KEY", "no array 'z'", key="x_test,z")


def test_a_single_array_needs_no_name_and_several_of_unknown_names_do(tmp_path):
    assert len(read_data(npz(tmp_path / "one.npz", whatever=IMAGES))) == 4
    refused(npz(tmp_path / "two.npz", a=IMAGES, b=LABELS), "E-DATA-FORMAT", "found: a, b", "--key NAME")
    refused(text(tmp_path / "a.csv", "1,2\n"), "E-DATA-KEY", "no arrays by name", key="a")


def test_one_hot_labels_are_the_places_of_their_ones(tmp_path):
    assert read_data(npz(tmp_path / "a.npz", x=IMAGES, y=np.eye(3)[LABELS])).labels.tolist() == LABELS.tolist()
    refused(npz(tmp_path / "b.npz", x=IMAGES, y=np.full((4, 2), 1.0)), "E-DATA-LABELS", "one-hot")


def test_labels_that_nobody_asks_for_are_no_error(tmp_path):
    file = npz(tmp_path / "a.npz", x=IMAGES, y=np.array([0.5, 1.5, 2.5, 3.5]))
    assert read_data(file, None, Reading(labelled=False)).labels is None
    refused(file, "E-DATA-LABELS", "0.5")


def mat(name, values):
    """A MATLAB array of version 5, uncompressed."""
    array = np.asarray(values, dtype="<f8", order="F")
    flags = struct.pack("<IIII", 6, 8, 6, 0)
    sizes = struct.pack("<II", 5, 4 * array.ndim) + np.array(array.shape, "<i4").tobytes() + b"\0" * (4 * (array.ndim % 2))
    word = name.encode()
    named = struct.pack("<II", 1, len(word)) + word + b"\0" * (-len(word) % 8)
    body = flags + sizes + named + struct.pack("<II", 9, array.nbytes) + array.tobytes("F")
    return struct.pack("<II", 14, len(body)) + body


def test_matlab_arrays_by_name(tmp_path):
    rows, pictures = np.arange(6.0).reshape(3, 2), np.arange(24.0).reshape(2, 3, 1, 4)
    file = tmp_path / "a.mat"
    arrays = mat("inputs", rows) + mat("targets", [[1.0], [2], [1]]) + mat("pics", pictures)
    file.write_bytes(b" " * 124 + struct.pack("<H", 0x100) + b"IM" + arrays)
    data = read_data(file, None, Reading(key="inputs"))
    assert np.array_equal(data.inputs, rows)
    assert data.labels.tolist() == [1, 2, 1]
    assert np.array_equal(read_data(file, None, Reading(key="pics")).inputs, pictures.transpose(3, 2, 0, 1))
    refused(file, "E-DATA-FORMAT", "--key NAME", "inputs (3, 2)")


# ---- tables --------------------------------------------------------------------------------------------------------------

TABLE = "a,b,species,c\n1.5,2,0,3\n4,5,1,6.5\n"


@pytest.mark.parametrize(("content", "column", "inputs", "labels"), [
    (TABLE, "species", [[1.5, 2, 3], [4, 5, 6.5]], [0, 1]),
    (TABLE, "2", [[1.5, 2, 3], [4, 5, 6.5]], [0, 1]),
    (TABLE, "-2", [[1.5, 2, 3], [4, 5, 6.5]], [0, 1]),
    (TABLE, "none", [[1.5, 2, 0, 3], [4, 5, 1, 6.5]], None),
    ("0.5,0.25,1\n0.75,0,2\n", "-1", [[0.5, 0.25], [0.75, 0]], [1, 2]),
    (",x0,x1,target\n17,0.5,1,3\n4,1,0,2\n", None, [[0.5, 1], [1, 0]], [3, 2]),             # as pandas writes it
    (",0,1,label\n0,0.5,1,3\n1,1,0,2\n", None, [[0.5, 1], [1, 0]], [3, 2]),
    ("Unnamed: 0,y,x\n0,1,0.5\n1,0,0.25\n", None, [[0.5], [0.25]], [1, 0]),
    ("x,y,label\n0.5,0.25,1\n", None, [[0.5, 0.25]], [1]),
    ("label;p;q\n1;0.5;0.25\n", None, [[0.5, 0.25]], [1]),
])
def test_the_label_of_a_table(tmp_path, content, column, inputs, labels):
    data = read_data(text(tmp_path / "a.csv", content), None, Reading(label_column=column))
    assert data.inputs.tolist() == inputs
    assert (None if data.labels is None else data.labels.tolist()) == labels


def test_a_table_as_wide_as_an_input_holds_no_labels(tmp_path):
    file = text(tmp_path / "a.csv", "0.5,1,0.25\n0.75,0,0\n")
    data = read_data(file, None, Reading(entries=3))
    assert data.inputs.tolist() == [[0.5, 1, 0.25], [0.75, 0, 0]]
    assert data.labels is None
    assert any("none holds labels" in note for note in data.notes)
    refused(file, "E-DATA-LABELS", "0.5", entries=2)      # then the first is the label, and it is none


def test_columns_that_are_not_there_or_not_told_apart(tmp_path):
    file = text(tmp_path / "a.csv", TABLE)
    refused(file, "E-DATA-COLUMN", "no column 'spezies'", "species", label_column="spezies")
    refused(file, "E-DATA-COLUMN", "no column '4'", label_column="4")
    refused(text(tmp_path / "b.csv", "label,class,p\n1,2,3\n"), "E-DATA-COLUMN", "label and class")
    refused(npz(tmp_path / "a.npz", x=IMAGES), "E-DATA-COLUMN", label_column="y")


def test_cells_are_named_as_in_the_file(tmp_path):
    refused(text(tmp_path / "a.csv", ",label,p,q\n0,1,2,3\n1,1,2,x\n"), "E-DATA-CELL", "line 3, column 4", "'x'")


def test_a_table_with_names_of_which_none_says_label_is_asked_about(tmp_path):
    """The first column was taken, and the last one, which holds the classes here, for an input."""
    table = text(tmp_path / "a.csv", "pregnancies,glucose,age,outcome\n1,85,31,0\n0,183,32,1\n")
    refused(table, "E-DATA-COLUMN", "--label-column")
    assert read_data(table, None, Reading(label_column="-1")).labels.tolist() == [0, 1]
    for names, labels in (("digit,p0,p1,p2", [1, 0]), ("f1,f2,f3,which", [0, 1])):     # beside a numbered series there is no doubt
        found = read_data(text(tmp_path / "b.csv", f"{names}\n1,85,31,0\n0,183,32,1\n"))
        assert found.labels.tolist() == labels


@pytest.mark.parametrize(("written", "labels"), [("1 0.5 2\n0 0.25 3\n", [1, 0]), ("# a b label\n0.5 2.5 1\n0.25 3 0\n", [1, 0]),
                                                 ("# a,label,c\n0.5,1,2.5\n0.25,0,3\n", [1, 0]), ("# by hand\n1,0.5,2\n0,0.5,3\n", [1, 0])])
def test_what_numpy_savetxt_writes_is_read(tmp_path, written, labels):
    assert read_data(text(tmp_path / "a.txt", written)).labels.tolist() == labels


def test_what_people_have_besides_is_told_how_to_convert(tmp_path):
    for name, word in (("a.parquet", "read_parquet"), ("a.pt", "torch.load"), ("a.json", "read_json")):
        refused(text(tmp_path / name, "PK"), "E-DATA-FORMAT", word)
    refused(npz(tmp_path / "a.npz", x=IMAGES, y=np.array(["cat", "dog", "cat", "dog"])), "E-DATA-LABELS", "return_inverse")
    assert read_data(npz(tmp_path / "a.npz", x=IMAGES, y=LABELS.astype(str))).labels.tolist() == LABELS.tolist()
    refused(text(tmp_path / "a.csv", "label;p;q\n1;0,5;0.5\n"), "E-DATA-CELL", "decimal=','")
    refused(text(tmp_path / "a.csv", "label,p\n1,NA\n"), "E-DATA-CELL", "dropna")


def test_labels_of_a_table_of_their_own_are_found_by_name(tmp_path):
    labels = text(tmp_path / "l.csv", "id,label\n10,2\n11,0\n12,1\n13,2\n")
    assert read_data(npz(tmp_path / "a.npz", x=IMAGES), labels).labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("header", ["", "file,label\n", ",path,class\n"])
def test_a_table_of_pictures_is_relative_to_itself(tmp_path, header):
    image = pytest.importorskip("PIL.Image", reason="extra images")
    for k in range(3):
        file = tmp_path / "pictures" / f"{k}.png"
        file.parent.mkdir(exist_ok=True)
        image.fromarray(IMAGES[k].reshape(2, 3)).save(file)
    folder = tmp_path / "lists"
    folder.mkdir()
    index = header.startswith(",")
    lines = "".join(f"{f'{k},' if index else ''}../pictures/{k}.png,{k + 4}\n" for k in (2, 0))
    table = text(folder / "test.csv", header + lines)
    data = read_data(table)
    assert np.array_equal(data.inputs[:, 0].reshape(2, 6), IMAGES[[2, 0]] / 255)
    assert data.labels.tolist() == [6, 4]
    assert read_data(table, None, Reading(label_column="none")).labels is None
    refused(text(folder / "bad.csv", "../pictures/9.png,1\n../pictures/0.png,cat\n"), "E-DATA-LABELS", "line 1", "line 2", "'cat'")


# ---- scales --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "factor"), [("1/255", 1 / 255), ("1", 1.0), (0.5, 0.5), (Fraction(2), 2.0)])
def test_a_scale_stands_in_place_of_the_usual_division(tmp_path, scale, factor):
    reading = Reading(scale=parse_scale(scale))
    table = text(tmp_path / "a.csv", "".join(f"{n},{','.join(map(str, row))}\n" for n, row in zip(LABELS, IMAGES, strict=True)))
    for file in (npz(tmp_path / "a.npz", x=IMAGES, y=LABELS), npz(tmp_path / "b.npz", x=IMAGES.astype(float), y=LABELS), table):
        data = read_data(file, None, reading)
        assert np.array_equal(data.inputs, IMAGES / 255 if factor == 1 / 255 else IMAGES * factor), file
        assert any("multiplied by" in note for note in data.notes)


@pytest.mark.parametrize("scale", ["0", "-1", "1/0", "nan", "inf", "a", "", "1e400", [1], True])
def test_what_is_no_scale_is_refused(scale):
    with pytest.raises(UsageError) as caught:
        parse_scale(scale)
    assert caught.value.code == "E-SCALE"


def test_a_picture_that_does_not_fit_comes_with_advice_that_works(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image", reason="extra images")
    monkeypatch.chdir(tmp_path)
    image.fromarray(np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)).save("in.png")
    for target in ((1, 4, 4), (3, 4, 4), (4, 4), (16,), (6, 4, 1)):
        with pytest.raises(AbsintError) as caught:
            read_data("in.png").shaped_for(target)
        assert caught.value.code == "E-DATA-SHAPE"
        program = caught.value.hint.partition('python -c "')[2].removesuffix('"')
        exec(program, {})    # what the message tells the user to run
        assert read_data("out.png").shaped_for(target).shape == target


def test_the_range_hints_say_what_to_write(tmp_path):
    for values, words in ((IMAGES.astype(float), ("--scale 1/255", "--clip none")), (IMAGES - 100.0, ("--mean", "--clip none"))):
        buffer = io.BytesIO()
        np.save(buffer, values)
        file = tmp_path / "a.npy"
        file.write_bytes(buffer.getvalue())
        with pytest.raises(AbsintError) as caught:
            read_data(file).check_range(0, 1)
        assert all(word in caught.value.hint for word in words)
