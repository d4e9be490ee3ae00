"""Wrong ways to a CLEVER score, each with the tests that must notice it."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import torch

from absint.analyses.clever import between, curvature, estimates, gradients, maxima, sampling, scoring, settings
from mutants.planting import into

MUTANTS = {}
# Killers: module of the tests, name, arguments.
mutant = into(MUTANTS)


@mutant(("test_clever_scores", "test_a_linear_network_is_scored_exactly", "l1"),
        ("test_clever_scores", "test_a_linear_network_is_scored_exactly", "linf"))
def the_norm_of_distances_measures_gradients(patch):
    patch(gradients, "DUAL", {"l1": 1.0, "l2": 2.0, "linf": inf})


@mutant(("test_clever_laws", "test_every_batch_is_drawn_afresh"))
def one_pool_for_all_batches(patch):
    real = sampling.generator_of
    patch(sampling, "generator_of", lambda device, seed, image, batch, *rest: real(device, seed, image, 0, *rest))


@mutant(("test_clever_laws", "test_images_do_not_share_their_samples"))
def one_pool_for_all_images(patch):
    real = sampling.generator_of
    patch(sampling, "generator_of", lambda device, seed, image, *rest: real(device, seed, 0, *rest))


@mutant(("test_clever_scores", "test_scores_lie_between_nothing_and_the_radius", 1, None),
        ("test_clever_laws", "test_no_score_is_above_what_the_greatest_sample_says"))
def the_fit_may_end_below_the_sample_maximum(patch):
    real = estimates.fit_endpoints

    def below(values, level):
        fits = real(values, level)
        return replace(fits, endpoint=0.9 * fits.endpoint)

    patch(estimates, "fit_endpoints", below)


@mutant(("test_clever_samples", "test_hessian_norms_against_dense_hessians", "spectral"))
def one_step_of_power_iteration(patch):
    patch(curvature, "_MOST", 1)


@mutant(("test_clever_samples", "test_hessian_norms_against_dense_hessians", "spectral"))
def steps_until_little_changes(patch):
    patch(curvature, "TOLERANCE", 0.3)


@mutant(("test_clever_scores", "test_scores_lie_between_nothing_and_the_radius", 1, None),
        ("test_clever_scores", "test_scores_lie_between_nothing_and_the_radius", 2, None))
def scores_go_beyond_the_radius(patch):
    for name in ("first_order", "second_order"):
        real = getattr(estimates, name)
        patch(estimates, name, lambda *given, real=real: real(*given[:-1], inf))


@mutant(("test_clever_laws", "test_samples_are_clipped_to_the_data_range"))
def samples_leave_the_data_range(patch):
    real = sampling.Sampling._drawn

    def free(self, images, chunk):
        self.settings = replace(self.settings, clip=None)
        return real(self, images, chunk)

    patch(sampling.Sampling, "_drawn", free)


@mutant(("test_clever_laws", "test_samples_reach_the_network_as_the_transform_leaves_them"))
def the_transform_is_applied_to_the_image_alone(patch):
    real = sampling.Sampling.__init__
    patch(sampling.Sampling, "__init__", lambda self, model, transform, *rest: real(self, model, None, *rest))


@mutant(("test_clever_laws", "test_the_transform_is_applied_to_the_sample_and_to_the_image"))
def the_margin_is_that_of_the_plain_image(patch):
    real = settings.with_targets
    patch(scoring, "with_targets", lambda model, transform, *rest: real(model, None, *rest))


@mutant(("test_clever_scores", "test_a_quadratic_margin_is_scored_by_its_root"),
        ("test_clever_scores", "test_the_second_order_of_a_quadratic_is_its_root", 2.0))
def the_root_without_its_two(patch):
    def root(margin, slope, bound, radius):
        return np.minimum(2 * margin / (slope + np.sqrt(slope**2 + bound * margin)), radius)

    patch(estimates, "second_order", root)


@mutant(("test_clever_scores", "test_masked_gradients_are_refused_with_the_remedy", 1e-3))
def gradients_that_nothing_follows_are_taken(patch):
    patch(maxima, "_FOLLOWS", inf)
    patch(scoring, "_BELOW", inf)


@mutant(("test_clever_scores", "test_masked_gradients_are_refused_with_the_remedy", 0.0))
def no_gradient_at_all_is_taken(patch):
    patch(scoring, "_meaningless", lambda found, others: ())
    patch(scoring, "_refuted", lambda targets: ())


@mutant(("test_clever_between", "test_a_proof_that_reaches_a_counterexample_is_refused"))
def contradictions_pass(patch):
    real = between.attacked_distances
    patch(between, "attacked_distances", lambda *given, **more: replace(real(*given, **more), proved=False))


@mutant(("test_clever_between", "test_of_a_linear_network_proof_score_and_attack_meet_at_the_distance", "l2"))
def the_nearest_other_class_for_every_target(patch):
    real = between.radii

    def nearest(graph, center, how, *, target):
        with torch.no_grad():
            scores = graph(center)
        return real(graph, center, how, target=scores.topk(2, dim=1).indices[:, 1])

    patch(between, "radii", nearest)
