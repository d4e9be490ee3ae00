"""Wrong notions of an image's axes, each with tests of test_layout.py or test_layout_of_data.py that must notice it."""

from __future__ import annotations

from absint.model import input_axes, layout
from absint.model.layout import Axes
from absint.model.ops.pool import MaxPool
from absint.problem import arrangement, dataset
from absint.problem.regions import patches as patches_module
from mutants.planting import into

MUTANTS = {}
# Killers are tests with their arguments; `read` stands for the fixture.
mutant = into(MUTANTS)

LAST = Axes((3, 3, 3), 2)


@mutant(("test_a_patch_is_refused_where_the_picture_is_not_known", (3, 4, 4), patches_module.Patches(1, 1), "E-LAYOUT"))
def the_first_of_two_readings_is_taken(patch):
    def first(shape, known, image, what):
        found = layout.readings(shape, known, image=image)
        return found[0] if found else None

    patch(patches_module, "picture_in", first)


@mutant(("test_a_patch_frees_all_channels_of_its_pixels", (3, 3, 3), patches_module.Patches(2, 1, layout="hwc"), True))
def the_picture_is_always_the_last_two_axes(patch):
    patch(patches_module, "picture_in", lambda shape, known, image, what: Axes(shape, 0))


@mutant(("test_radii_per_channel_as_told", "hwc", 2))
def membership_takes_the_first_axis(patch):
    real = Axes.numbers
    patch(Axes, "numbers", lambda self, shape: real(Axes(self.view, 0), shape))


@mutant(("test_radii_per_channel_as_told", "hwc", 2), ("test_normalisation_by_channel_is_what_onnxruntime_computes", "read", "last"))
def values_go_along_the_first_axis(patch):
    real = Axes.spread
    patch(Axes, "spread", lambda self, values, shape: real(Axes(self.view, 0), values, shape))


@mutant(("test_the_operators_that_read_the_input_tell_its_axes", "read", "readers that contradict", True))
def one_of_two_readers_is_believed(patch):
    patch(input_axes, "_by_coordinates", lambda origin, axis, shape: {LAST})


@mutant(("test_the_operators_that_read_the_input_tell_its_axes", "read", "tf2onnx", True))
def the_readers_axis_is_taken_for_the_inputs(patch):
    patch(input_axes, "_by_coordinates", lambda origin, axis, shape: {Axes(shape, axis)})


@mutant(("test_the_operators_that_read_the_input_tell_its_axes", "read", "max-pool", True))
def an_expanded_operator_says_nothing(patch):
    patch(MaxPool, "channel_axis", None)


@mutant(("test_images_reach_the_network_in_its_order", (3, 3, 3), None, (3, 3, 3), layout.Layout.CHW, "hwc", (3, 1)))
def equal_shapes_always_stay(patch):
    real = arrangement.Arrangement.of
    patch(arrangement.Arrangement, "of", lambda self, inputs, shape: inputs if inputs.shape[1:] == shape else real(self, inputs, shape))


@mutant(("test_an_order_that_is_open_or_contradicts_is_refused", (3, 3, 3), None, (3, 3, 3), None, "hwc", "E-LAYOUT"))
def the_first_of_two_arrangements_is_taken(patch):
    patch(dataset, "differ", lambda ways, given, shape: False)


@mutant(("test_what_operators_say_and_what_is_told_must_agree",))
def what_is_told_wins(patch):
    import test_layout

    patch(test_layout, "agreed", lambda shape, known, told: told or known)
