"""Image folders as data: pixels exactly as stored, labels from folders or labels.csv, every faulty file named."""

from __future__ import annotations

import builtins
import io

import numpy as np
import pytest

from absint.errors import AbsintError
from absint.problem.data_frontend import read_data

Image = pytest.importorskip("PIL.Image", reason="extra images")
GREY = np.random.default_rng(11).integers(0, 256, (6, 5, 4), dtype=np.uint8)
RGB = np.random.default_rng(12).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)


def encoded(pixels, kind="PNG", mode=None, **options):
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(stream, kind, **options)
    return stream.getvalue()


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels, **options))
    return path


def fault(path, code, *words):
    with pytest.raises(AbsintError) as caught:
        read_data(path)
    assert caught.value.code == code, caught.value.render()
    assert caught.value.hint
    text = caught.value.render()
    assert all(word in text for word in words), text


@pytest.mark.parametrize(("pixels", "stored"), [(RGB, RGB.transpose(0, 3, 1, 2)), (GREY, GREY[:, None])])
def test_class_folders_with_numbers(tmp_path, pixels, stored):
    places = ["10/a.png", "2/b.PNG", "2/a.png", "0/z.png", "0/.hidden.png", "0/notes.txt"]
    for k, place in enumerate(places[:5]):
        write(tmp_path / place, pixels[k])
    (tmp_path / places[5]).write_text("no image")
    (tmp_path / "empty").mkdir()
    data = read_data(tmp_path)
    order = [3, 2, 0, 1]    # the classes take turns
    assert data.labels.tolist() == [0, 2, 10, 2]
    assert np.array_equal(data.inputs, stored[order] / 255.0)
    assert any("height, width, channels" in note for note in data.notes)
    assert "uint8 values divided by 255" in data.notes
    assert "labels are the folders' numbers" in data.notes
    assert any("take turns" in note for note in data.notes)


def test_class_folders_with_names_count_and_say_so(tmp_path):
    for k, name in enumerate(("dog", "cat", "ant")):
        write(tmp_path / name / "x.png", RGB[k])
    data = read_data(tmp_path)
    assert data.labels.tolist() == [0, 1, 2]
    assert np.array_equal(data.inputs[1] * 255, RGB[1].transpose(2, 0, 1))
    assert any("0 = ant, 1 = cat, 2 = dog" in note for note in data.notes)


@pytest.mark.parametrize("header", ["", "file,label\n", "\ufefffile, class\n"])
def test_labels_csv_gives_order_and_labels(tmp_path, header):
    for k in range(4):
        write(tmp_path / f"sub dir/bild-ä{k}.png", GREY[k])
    write(tmp_path / "left.png", GREY[4])
    lines = "".join(f"sub dir/bild-ä{k}.png, {k * 3}\n" for k in (3, 0, 2))
    (tmp_path / "labels.csv").write_text(header + lines + "\n", encoding="utf-8")
    data = read_data(tmp_path)
    assert data.labels.tolist() == [9, 0, 6]
    assert np.array_equal(data.inputs[:, 0] * 255, GREY[[3, 0, 2]])
    assert any("1 image not named" in note for note in data.notes)


def test_images_without_labels_and_a_single_file(tmp_path):
    for k in (2, 0, 1):
        write(tmp_path / f"{k}.png", RGB[k])
    data = read_data(tmp_path)
    assert data.labels is None
    assert np.array_equal(data.inputs * 255, RGB[:3].transpose(0, 3, 1, 2))
    one = read_data(tmp_path / "1.png")
    assert np.array_equal(one.inputs, data.inputs[1:2])


def test_the_digest_follows_bytes_names_and_labels(tmp_path):
    for k in range(2):
        write(tmp_path / str(k) / "a.png", GREY[k])
    first = read_data(tmp_path).sha256
    assert read_data(tmp_path).sha256 == first
    write(tmp_path / "1" / "a.png", GREY[3])
    second = read_data(tmp_path).sha256
    (tmp_path / "1").rename(tmp_path / "7")
    assert len({first, second, read_data(tmp_path).sha256}) == 3


def test_jpeg_palette_and_opaque_alpha(tmp_path):
    smooth = np.full((8, 8, 3), 77, dtype=np.uint8)
    write(tmp_path / "jpeg" / "a.jpeg", smooth, kind="JPEG")
    assert np.abs(read_data(tmp_path / "jpeg").inputs * 255 - 77).max() <= 2
    write(tmp_path / "p" / "a.png", smooth, mode="P")
    write(tmp_path / "p" / "b.png", np.dstack([smooth, np.full((8, 8), 255, np.uint8)]))
    data = read_data(tmp_path / "p")
    assert np.array_equal(data.inputs[1] * 255, smooth.transpose(2, 0, 1))
    assert {"palette images decoded to RGB", "fully opaque alpha channel dropped"} <= set(data.notes)


def test_mixed_sizes_and_modes_are_refused_with_files_named(tmp_path):
    write(tmp_path / "0" / "a.png", RGB[0])
    write(tmp_path / "0" / "b.png", RGB[1])
    write(tmp_path / "1" / "wide.png", np.zeros((5, 9, 3), np.uint8))
    fault(tmp_path, "E-DATA-SHAPE", "4x5 RGB: 2 files, 0/a.png, 0/b.png", "9x5 RGB: 1 file, 1/wide.png")
    write(tmp_path / "1" / "wide.png", GREY[0])
    fault(tmp_path, "E-DATA-SHAPE", "4x5 grayscale: 1 file, 1/wide.png")


def test_every_unusable_image_is_named_at_once(tmp_path):
    whole = encoded(RGB[0])
    for name, data in {"empty.png": b"", "short.png": whole[:-30], "text.jpg": b"hello", "page.html.png": b"<html>"}.items():
        (tmp_path / name).write_bytes(data)
    write(tmp_path / "deep.png", GREY[0].astype(np.uint16) * 257)
    write(tmp_path / "clear.png", np.dstack([RGB[0], np.full((5, 4), 9, np.uint8)]))
    write(tmp_path / "bits.png", GREY[0], mode="1")
    write(tmp_path / "print.jpg", RGB[0], kind="JPEG", mode="CMYK")
    write(tmp_path / "good.png", RGB[0])
    fault(tmp_path, "E-DATA-FORMAT", "8 images", "empty.png: the file is empty", "short.png", "text.jpg", "page.html.png", "deep.png",
          "clear.png: colour mode RGBA", "bits.png: colour mode 1", "print.jpg: colour mode CMYK")
    (tmp_path / "one.png").write_bytes(b"GIF89a")
    fault(tmp_path / "one.png", "E-DATA-FORMAT", "one.png")


def test_faults_of_the_folder(tmp_path):
    fault(tmp_path, "E-DATA-EMPTY", "labels.csv")
    write(tmp_path / "in" / "0" / "a.png", GREY[0])
    write(tmp_path / "in" / "b.png", GREY[0])
    fault(tmp_path / "in", "E-DATA-FORMAT", "beside class folders")
    write(tmp_path / "twice" / "01" / "a.png", GREY[0])
    write(tmp_path / "twice" / "1" / "a.png", GREY[0])
    fault(tmp_path / "twice", "E-DATA-LABELS", "01, 1")


def test_every_faulty_line_of_labels_csv_is_named_at_once(tmp_path):
    write(tmp_path / "in" / "a.png", GREY[0])
    write(tmp_path / "secret.png", GREY[1])
    lines = ["a.png,0", "gone.png,1", "../secret.png,1", "a.png,cat", "a.png", f"{tmp_path}/secret.png,3", "a.png,1.5"]
    (tmp_path / "in" / "labels.csv").write_text("\n".join(lines))
    fault(tmp_path / "in", "E-DATA-LABELS", "6 lines", "line 2: there is no file 'gone.png'", "line 3: '../secret.png' lies outside",
          "line 4: 'a.png,cat'", "line 5", "line 6", "line 7")
    (tmp_path / "in" / "labels.csv").write_bytes(b"\xff\xfe\x00")
    fault(tmp_path / "in", "E-DATA-FORMAT", "labels.csv cannot be read")


def test_a_missing_pillow_is_named_with_the_command(tmp_path, monkeypatch):
    write(tmp_path / "a.png", GREY[0])
    original = builtins.__import__

    def without(name, *rest, **options):
        if name.startswith("PIL"):
            raise ImportError(name)
        return original(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    fault(tmp_path, "E-PACKAGE-MISSING", "pip install pillow")


def test_images_fit_networks_in_their_own_order(tmp_path):
    write(tmp_path / "0" / "a.png", RGB[0])
    data = read_data(tmp_path)
    assert data.shaped_for((3, 5, 4)).inputs.shape == (1, 3, 5, 4)
    last = data.shaped_for((5, 4, 3))
    assert np.array_equal(last.inputs, np.moveaxis(data.inputs, 1, 3))
    with pytest.raises(AbsintError, match="E-LAYOUT"):
        data.shaped_for((5, 3, 4))
