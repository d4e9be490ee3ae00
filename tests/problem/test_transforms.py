"""Transforms of inputs: bit depth, JPEG, PNG; their names; what of a plug-in is refused."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import PIL.Image
import pytest
import torch
from places import ROOT

from absint.errors import AbsintError, PluginError, UnsupportedError, UsageError
from absint.model.layout import Axes, Layout
from absint.problem.transforms import TRANSFORMS, Applied, Frame, Transform, register_transform, transform_of
from absint.problem.transforms import images as images_module
from absint.problem.transforms.images import Jpeg
from absint.problem.transforms.quantise import Bits, Png
from absint.registry import load_plugin

UNIT = (0.0, 1.0)
FORMATS = (torch.float32, torch.float64)


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# ---- levels --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("clip", [UNIT, (-0.5, 0.5), (0.0, 255.0), (-1.0, 1.0), (0.1, 0.7)])
def test_every_level_is_found_again(dtype: torch.dtype, clip: tuple[float, float]) -> None:
    levels = torch.arange(256)
    x = (levels.double() / 255 * (clip[1] - clip[0]) + clip[0]).to(dtype)
    frame = Frame((256,), *clip)
    assert frame.levels(x).equal(levels.double())
    assert frame.levels(x.float().double()).equal(levels.double())    # float32 images, looked at in float64
    assert frame.values(levels, x).equal(x.clamp(*clip))


def test_plain_rounding_down_would_lose_levels() -> None:
    levels = torch.arange(256).double()
    x = (levels / 255 - 0.5).float()
    assert (255 * (x.double() + 0.5)).floor().ne(levels).sum() > 20


def test_levels_are_rounded_down_and_stay_in_range() -> None:
    x = torch.tensor([0.0, 0.9 / 255, 1.5 / 255, 254.99 / 255, 1.0, 1.2, -0.3], dtype=torch.float64)
    assert Frame((7,), *UNIT).levels(x).tolist() == [0, 0, 1, 254, 255, 255, 0]


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("depth", range(1, 9))
def test_bits_keep_the_upper_ones(depth: int, dtype: torch.dtype) -> None:
    u = np.arange(256)
    expected = torch.tensor((u >> (8 - depth)) << (8 - depth), dtype=torch.float64) / 255
    x = (torch.arange(256, dtype=torch.float64) / 255).to(dtype)
    found = transform_of(f"bits{depth}", UNIT, (256,))(x[None])[0]
    assert found.dtype == dtype
    assert found.equal(expected.to(dtype))


def test_png_keeps_eight_bit_images_and_rounds_others() -> None:
    png = transform_of("png", UNIT, (256,))
    x = torch.arange(256, dtype=torch.float32)[None] / 255
    assert png(x).equal(x)
    assert (png(images(3, 256)) - images(3, 256)).abs().max() <= 0.5 / 255 + 1e-12


# ---- JPEG ----------------------------------------------------------------------------------------------------------------


def by_pillow(image: np.ndarray, quality: int) -> np.ndarray:
    """(height, width[, 3]) from 0 to 1."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.floor(255 * image).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(PIL.Image.open(buffer)) / 255


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("quality", [10, 75])
def test_jpeg_is_what_pillow_makes_of_each_image(count: int, quality: int) -> None:
    colour, grey = images(count, 3, 24, 17), images(count, 1, 8, 9)
    found = transform_of(f"jpeg{quality}", UNIT, (3, 24, 17))(colour)
    for k in range(count):
        assert np.allclose(found[k].permute(1, 2, 0), by_pillow(colour[k].permute(1, 2, 0).numpy(), quality), rtol=0, atol=1e-12)
    found = transform_of(f"jpeg:quality={quality}", UNIT, (1, 8, 9))(grey)
    for k in range(count):
        assert np.allclose(found[k, 0], by_pillow(grey[k, 0].numpy(), quality), rtol=0, atol=1e-12)


def test_jpeg_knows_where_the_channels_are() -> None:
    x = images(2, 3, 8, 8)
    first, last = transform_of("jpeg75", UNIT, (3, 8, 8)), transform_of("jpeg75", UNIT, (8, 8, 3))
    assert first(x).equal(last(x.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2))
    flat = transform_of("jpeg75", UNIT, (192,), Axes((3, 8, 8), 0))
    assert flat(x.flatten(1)).equal(first(x).flatten(1))
    grey = images(2, 8, 8)
    assert transform_of("jpeg75", UNIT, (8, 8))(grey).equal(transform_of("jpeg75", UNIT, (1, 8, 8))(grey[:, None])[:, 0])
    both = images(2, 3, 8, 3)
    found = [transform_of("jpeg75", UNIT, (3, 8, 3), layout)(both) for layout in Layout]
    assert not found[0].equal(found[1])


@pytest.mark.parametrize("shape", [(192,), (2, 8, 8), (4, 4, 4, 3), (3, 8, 3), (1, 70000, 2)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        transform_of("jpeg75", UNIT, shape)
    assert caught.value.code == ("E-LAYOUT" if shape == (3, 8, 3) else "E-TRANSFORM-SHAPE")
    assert caught.value.hint


def test_without_pillow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *rest: object, **more: object) -> object:
        if name.startswith("PIL"):
            raise ImportError(name)
        return real(name, *rest, **more)

    import builtins
    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UnsupportedError) as caught:
        transform_of("jpeg75", UNIT, (3, 8, 8))
    assert caught.value.code == "E-PACKAGE-MISSING"
    assert "absint[images]" in str(caught.value.hint)
    assert transform_of("png", UNIT, (3, 8, 8))(images(1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_threads_keep_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(40, 1, 8, 8)
    together = transform_of("jpeg20", UNIT, (1, 8, 8))(x)
    monkeypatch.setattr(images_module, "_FEW", 1000)
    assert transform_of("jpeg20", UNIT, (1, 8, 8))(x).equal(together)
    assert transform_of("jpeg20", UNIT, (1, 8, 8))(x[:0]).shape == (0, 1, 8, 8)


# ---- every registered transform --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRANSFORMS.names())
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("clip", [UNIT, (-0.5, 0.5), (0.1, 0.7)])
def test_a_transform_keeps_shape_range_format_and_says_the_same_twice(name: str, dtype: torch.dtype, clip: tuple[float, float]) -> None:
    shape = (3, 16, 16)
    x = (images(18, *shape) * (clip[1] - clip[0]) + clip[0]).to(dtype).clamp(*clip).requires_grad_()
    before = x.detach().clone()
    transform = transform_of(name, clip, shape)
    found = transform(x)
    assert (found.shape, found.dtype, found.device, found.requires_grad) == (x.shape, dtype, x.device, False)
    assert bool(((found >= torch.tensor(clip[0], dtype=dtype)) & (found <= torch.tensor(clip[1], dtype=dtype))).all())
    assert found.equal(transform(x))
    assert found[3:5].equal(transform(x[3:5]))
    assert x.equal(before)
    assert not found.equal(x)


@pytest.mark.parametrize("name", ["bits3", "png"])
def test_scaling_the_data_scales_the_result(name: str) -> None:
    x = images(4, 1, 6, 6)
    there = transform_of(name, (-2.0, 6.0), (1, 6, 6))(x * 8 - 2)
    assert torch.allclose(there, transform_of(name, UNIT, (1, 6, 6))(x) * 8 - 2, rtol=0, atol=1e-12)


# ---- names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "transform"), [("bits", Bits()), ("bits5", Bits(5)), ("bits:depth=4", Bits(4)), ("png", Png()),
                                                 ("jpeg", Jpeg()), ("jpeg90", Jpeg(90)), ("jpeg:quality=75", Jpeg(75))])
def test_names(text: str, transform: Transform) -> None:
    found = transform_of(text, UNIT, (3, 8, 8))
    assert found == Applied(text, transform, Frame((3, 8, 8), 0.0, 1.0))
    assert transform_of(transform, UNIT, (3, 8, 8)).transform == transform


@pytest.mark.parametrize("text", ["bit3", "nothing", "", "3", "bits-3", "bits3.5", "bits٣", None, 3])
def test_names_that_are_unknown(text: object) -> None:
    with pytest.raises(UsageError) as caught:
        transform_of(text, UNIT, (3, 8, 8))
    assert caught.value.code == "E-TRANSFORM-UNKNOWN"
    assert "bits" in str(caught.value.hint)


@pytest.mark.parametrize(("text", "hint"), [
    ("bits0", "1 to 8"), ("bits9", "1 to 8"), ("jpeg0", "1 to 100"), ("jpeg101", "1 to 100"), ("png8", "leave"),
    ("bits:depth=x", "whole number"), ("bits:deep=3", "depth"), ("bits:", "depth"), ("bits3:depth=3", "depth"),
])
def test_options_that_are_refused(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        transform_of(text, UNIT, (3, 8, 8))
    assert caught.value.code == "E-TRANSFORM-OPTION"
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("clip", [None, (0.5, 0.5)])
def test_without_a_data_range_there_are_no_levels(clip: tuple[float, float] | None) -> None:
    with pytest.raises(UsageError) as caught:
        transform_of("bits3", clip, (3, 8, 8))
    assert caught.value.code == "E-TRANSFORM-CLIP"
    assert "--clip" in str(caught.value.hint)


# ---- plug-ins ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Strange(Transform):
    """Does what its first option says."""

    how: str = "identity"
    strength: float = 0.5
    often: bool = False

    def __call__(self, x: torch.Tensor, frame: Frame) -> torch.Tensor:
        if self.how == "raises":
            raise RuntimeError("out of ink")
        if self.how == "coded":
            raise UsageError("E-MINE", "not these images", hint="others")
        made = {"identity": x, "shape": x[:, :-1], "batch": x[:1], "nan": x / 0 * 0, "beyond": x + 1, "list": x.tolist(), "bool": x > 0,
                "complex": x + 0j, "whole": (x > 0.5).long(), "writes": x.mul_(0.5)}
        return made[self.how]  # type: ignore[return-value]


@pytest.mark.parametrize(("how", "code"), [("raises", "E-PLUGIN-RAISED"), ("shape", "E-TRANSFORM-SHAPE"), ("batch", "E-TRANSFORM-SHAPE"),
                                           ("list", "E-TRANSFORM-SHAPE"), ("bool", "E-TRANSFORM-SHAPE"), ("complex", "E-TRANSFORM-SHAPE"),
                                           ("nan", "E-TRANSFORM-VALUES"), ("beyond", "E-TRANSFORM-VALUES"), ("coded", "E-MINE")])
def test_what_a_plug_in_must_not_return(how: str, code: str) -> None:
    register_transform("strange")(Strange)
    transform = transform_of(f"strange:how={how}", UNIT, (4,))
    with pytest.raises(AbsintError) as caught:
        transform(images(3, 4) + 0.01)
    assert caught.value.code == code
    assert caught.value.hint
    assert how == "coded" or "strange" in str(caught.value.where)


def test_a_plug_in_may_return_whole_numbers_and_write_into_its_copy() -> None:
    register_transform("strange")(Strange)
    x = images(3, 4)
    before = x.clone()
    assert transform_of("strange:how=writes,strength=0.1,often=on", UNIT, (4,))(x).equal(before / 2)
    assert x.equal(before)
    assert transform_of("strange:how=whole", UNIT, (4,))(x).dtype == x.dtype


@pytest.mark.parametrize("options", ["strength=nan", "often=perhaps", "strength=", "how=identity,how=nan"])
def test_options_have_the_types_of_their_defaults(options: str) -> None:
    register_transform("strange")(Strange)
    with pytest.raises(UsageError) as caught:
        transform_of(f"strange:{options}", UNIT, (4,))
    assert caught.value.code == "E-TRANSFORM-OPTION"


def test_an_exact_name_comes_before_a_number() -> None:
    register_transform("bits3")(Png)
    assert transform_of("bits3", UNIT, (4,)).transform == Png()
    assert transform_of("bits4", UNIT, (4,)).transform == Bits(4)


def test_classes_that_cannot_be_made_are_refused() -> None:
    @register_transform("unfinished")
    class Unfinished(Transform):
        pass

    register_transform("function")(lambda: 3)  # type: ignore[arg-type, return-value]

    @register_transform("nosy")
    @dataclass(frozen=True)
    class Nosy(Strange):
        def check(self, frame: Frame) -> None:
            raise KeyError("frame")

    for name, code in (("unfinished", "E-PLUGIN-RAISED"), ("function", "E-PLUGIN-CONTRACT"), ("nosy", "E-PLUGIN-RAISED")):
        with pytest.raises(PluginError) as caught:
            transform_of(name, UNIT, (4,))
        assert caught.value.code == code


def test_the_example_of_the_documentation() -> None:
    load_plugin(ROOT / "tests/plugins/files/median.py")
    x = images(2, 1, 6, 7)
    found = transform_of("median", UNIT, (1, 6, 7))(x)
    assert float(found[0, 0, 2, 3]) == float(x[0, 0, 1:4, 2:5].flatten().median())
    assert not transform_of("median5", UNIT, (1, 6, 7))(x).equal(found)
    with pytest.raises(UsageError) as caught:
        transform_of("median4", UNIT, (1, 6, 7))
    assert caught.value.code == "E-MEDIAN"
