"""Wrong ways to train and to measure, each with the tests that must notice it. Killers: module of the tests, name, arguments."""

from __future__ import annotations

from dataclasses import replace

from absint.analyses.train import evaluation, step, trainer
from absint.analyses.train.schedule import Schedule
from absint.engine import forward, live_steps
from absint.model.families.linear import Linear
from absint.model.graph import Graph
from absint.numeric.interval import Interval
from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)


@mutant(("test_train_bounds", "test_bounds_of_a_step_hold_at_random_and_attacked_points_of_every_layer"),
        ("test_train_bounds", "test_the_width_term_is_the_sum_of_mean_squares_of_hidden_layers"))
def box_without_the_absolute_value(patch):
    """The radius goes through W, not |W|."""
    real = live_steps.live_step

    def live_step(node, ctx):
        op = node.op
        if not isinstance(op, Linear) or op.exact:
            return real(node, ctx)
        (given,) = ctx.inputs(node.inputs)
        center, reach = op.forward((given.lower + given.upper) * 0.5), op.apply((given.upper - given.lower) * 0.5)
        return Interval(center - reach, center + reach, proper=True)

    patch(forward.live_steps, "live_step", live_step)


@mutant(("test_train_bounds", "test_regions_end_at_the_data_range"))
def the_ball_leaves_the_data_range(patch):
    real = step.ball
    patch(step, "ball", lambda inputs, eps, clip: real(inputs, eps, None))


@mutant(("test_train_bounds", "test_bounds_after_steps_are_those_of_a_graph_that_is_read_afresh"))
def absolute_values_are_kept_from_the_first_step(patch):
    """A stale cache: |W| is that of the numbers that training began with."""
    view, walk, kept = Graph.with_parameters, live_steps.live_step, {}

    def with_parameters(self, mapping):
        kept.setdefault("view", view(self, {name: value.detach().clone() for name, value in mapping.items()}))
        return view(self, mapping)

    def live_step(node, ctx):
        found = walk(node, ctx)
        if not isinstance(node.op, Linear) or node.op.exact:
            return found
        (given,) = ctx.inputs(node.inputs)
        center, reach = (found.lower + found.upper) / 2, kept["view"].by_name[node.name].op.apply_abs((given.upper - given.lower) / 2)
        return Interval(center - reach, center + reach, proper=True)

    patch(Graph, "with_parameters", with_parameters)
    patch(forward.live_steps, "live_step", live_step)


@mutant(("test_train_schedule", "test_radius_and_share_of_the_clean_loss_at_the_corners_of_the_ramp"))
def kappa_is_inverted(patch):
    real = Schedule.at

    def at(self, number):
        moment = real(self, number)
        return replace(moment, kappa=1 - moment.kappa)

    patch(Schedule, "at", at)


@mutant(("test_train_schedule", "test_the_smooth_ramp_is_a_curve_that_its_line_continues"))
def the_curve_does_not_meet_its_line(patch):
    from absint.analyses.train import schedule

    patch(schedule, "_SCALE", 1.0)
    import test_train_schedule

    patch(test_train_schedule, "smooth", schedule.smooth)


@mutant(("test_train_bounds", "test_the_width_term_is_the_sum_of_mean_squares_of_hidden_layers"))
def the_width_term_counts_the_logits(patch):
    real = step.layers_of
    patch(step, "layers_of", lambda graph, layers: real(graph, "all"))


@mutant(("test_train_bounds", "test_the_width_term_is_the_sum_of_mean_squares_of_hidden_layers"))
def widths_are_summed_over_entries(patch):
    def widths(graph, known, layers):
        return {name: (known[name].upper - known[name].lower).square().sum() for name in step.layers_of(graph, layers)}

    patch(step, "layer_widths", widths)


@mutant(("test_train_runs", "test_evaluations_are_at_the_full_radius_while_the_radius_still_rises"))
def evaluations_are_at_the_scheduled_radius(patch):
    real = trainer.measured

    def measured(task, parameters, end):
        return real(replace(task, eps=task.eps * 0), parameters, end)

    patch(trainer, "measured", measured)


@mutant(("test_train_bounds", "test_worst_logits_are_those_that_corners_attain_in_a_linear_network"),
        ("test_train_bounds", "test_worst_cases_through_the_last_layer_are_tighter"))
def the_elided_property_has_the_wrong_sign(patch):
    real = step.row_bounds

    def rows(domain, element, ctx, spec):
        found = real(domain, element, ctx, spec)
        return replace(found, lower=-found.lower)

    patch(step, "row_bounds", rows)


@mutant(("test_train_runs", "test_the_closing_figure_is_what_verify_says_of_the_file"))
def everything_counts_as_proved(patch):
    real = evaluation.proved

    def proved(*given, **more):
        found = real(*given, **more)
        return replace(found, flags=found.flags | True)

    patch(evaluation, "proved", proved)
    patch(evaluation, "check_order", lambda *given: None)


@mutant(("test_train_runs", "test_the_best_epoch_is_that_of_the_least_verified_error"),
        ("test_train_runs", "test_the_best_epoch_is_kept_and_the_last_one_beside_it"))
def the_last_epoch_is_called_the_best(patch):
    patch(trainer, "best_of", lambda records: records[-1])


@mutant(("test_train_resume", "test_a_state_of_any_step_goes_on_to_the_same_bits", 4))
def the_second_moments_are_not_kept(patch):
    real = trainer.read_state

    def read(path, bound):
        state = real(path, bound)
        return replace(state, squares={name: value * 0 for name, value in state.squares.items()})

    patch(trainer, "read_state", read)


@mutant(("test_train_resume", "test_a_state_of_any_step_goes_on_to_the_same_bits", 4))
def random_numbers_go_on_from_where_the_process_is(patch):
    real, count = trainer._random, [0]

    def drawn(seed, what, number):
        count[0] += 1
        return real(seed, what, count[0])

    patch(trainer, "_random", drawn)


@mutant(("test_train_bounds", "test_gradients_against_finite_differences_in_float64", "ibp", True))
def radii_carry_no_gradient(patch):
    """'Do not detach r.'"""
    real = live_steps.live_step

    def live_step(node, ctx):
        found = real(node, ctx)
        if not isinstance(node.op, Linear) or node.op.exact:
            return found
        one = live_steps.centred(found)
        return live_steps.Centred(one.center, one.reach.detach())

    patch(forward.live_steps, "live_step", live_step)
