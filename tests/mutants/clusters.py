"""Wrong ways to hand items to a cluster and to believe what comes back, each with the tests that must notice it."""

from __future__ import annotations

from dataclasses import replace

from absint.runs import parcel, ray_cluster, ray_worker
from absint.runs.ray_cluster import RayCluster
from absint.runs.ray_hands import Errand, Hand
from absint.runs.ray_head import Head
from absint.runs.ray_pool import RayPool
from mutants.planting import into
from mutants.refinement import edit, rewritten

MUTANTS = {}
mutant = into(MUTANTS)      # killers are names of tests in test_ray_pool.py and test_ray_joining.py, and what they are given


@mutant(("test_a_dead_workers_records_are_kept",))
def what_a_dead_worker_had_answered_is_asked_again(patch):
    edit(patch, RayPool, "_died", ("reversed(hand.errands)", "reversed(hand.asked)"))


@mutant(("test_a_dead_workers_records_are_kept",), ("test_an_error_after_a_record_takes_nothing_back", "stumble"))
def an_answered_item_stays_unanswered(patch):
    patch(Hand, "done", lambda self, errand: None)


@mutant(("test_each_fate_of_a_worker", 1))
def items_of_a_dead_worker_are_dropped(patch):
    edit(patch, RayPool, "_died", ("self.waiting.appendleft(errand.again())", "pass"))


@mutant(("test_each_fate_of_a_worker", 3))
def an_item_without_a_second_worker_is_silent(patch):
    edit(patch, RayPool, "_died", ("yield self._failure(", "yield from () and self._failure("))


@mutant(("test_deaths_are_told",))
def items_of_a_dead_worker_are_tried_for_ever(patch):
    patch(Errand, "again", lambda self: replace(self, alone=True))


@mutant(("test_each_fate_of_a_worker", 1))
def an_answer_about_another_item_is_taken(patch):
    edit(patch, RayPool, "_said", ("raise ValueError(f\"item {told['index']} is none of those it was asked about\")",
                                   "mine = hand.asked[0]"))


@mutant(("test_other_bytes_than_were_sent_are_refused",))
def the_hash_of_the_run_is_not_checked(patch):
    edit(patch, parcel, "_unpacked", ("digest(content) != sha256", "False"))


@mutant(("test_a_copy_that_the_disk_changed_is_refused",))
def the_hash_of_a_copy_is_not_checked(patch):
    edit(patch, parcel, "here", ("digest(written.read_bytes()) != file.sha256", "False"))


@mutant(("test_a_node_with_another_version",), ("test_a_node_with_other_plug_ins", {"nets": "1.0"}, {"nets": "1.1"}, ""))
def versions_are_not_compared(patch):
    patch(ray_worker, "opened", rewritten(parcel.opened, ("if different:", "if False:")))


@mutant(("test_a_node_with_other_plug_ins", {"nets": "1.0"}, {}, ""))
def packages_of_plug_ins_are_not_compared(patch):
    edit(patch, parcel, "_needed_versions", ("plugin_packages().items()", "{}.items()"))


@mutant(("test_a_node_with_other_plug_ins", {}, {"nets": "1.0"}, ""))
def a_plug_in_of_a_node_alone_is_let_in(patch):
    patch(ray_worker, "opened", rewritten(parcel.opened, ("names = {**parcel.versions, **own}", "names = parcel.versions")))


@mutant(("test_of_a_plug_in_what_was_run_here_is_sent",))
def a_plug_in_is_read_again(patch):
    patch(parcel, "plugin_content", lambda path: None)


@mutant(("test_a_worker_gets_a_card",), ("test_a_cluster_without_a_whole_card", 0))
def no_card_is_asked_for(patch):
    patch(ray_cluster, "RayCluster", lambda where, cpus, gpus: RayCluster(where, cpus, 0))


@mutant(("test_a_worker_gets_a_card",))
def a_card_is_asked_for_and_not_used(patch):
    patch(parcel, "_OWN", {**parcel._OWN, "device": "cpu"})


@mutant(("test_without_cuda_no_card_is_held",))
def every_worker_holds_a_card(patch):
    patch(ray_cluster, "RayCluster", lambda where, cpus, gpus: RayCluster(where, cpus, 1))


@mutant(("test_a_head_that_stays_silent",))
def a_silent_head_is_waited_for(patch):
    patch(Head, "lost", lambda self: None)


@mutant(("test_no_worker_is_started_without_a_head",))
def workers_are_started_without_a_head(patch):
    edit(patch, RayPool, "_hand_out", ("missing > 0 and self._head.answers()", "missing > 0"))


@mutant(("test_a_head_that_comes_back",))
def a_head_is_lost_at_once(patch):
    edit(patch, Head, "lost", ("silent > self._limit", "silent > 0"))


@mutant(("test_an_address_of_something_else", b"", "timed out"), ("test_an_address_of_something_else", b"HTTP/1.1 400 Bad", "no head node"))
def whatever_answers_is_a_cluster(patch):
    patch(ray_cluster, "greet", lambda address, patience: None)
