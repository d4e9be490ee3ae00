"""Whole trainings: errors in their order, what is written is what is measured, and every method with every term."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from journals import kept
from trainings import batch_of, options_in, trainer_in, words_in

import absint
from absint.analyses.train import trainer
from absint.analyses.train.log import read_log
from absint.analyses.train.record import EpochRecord, Phase
from absint.numeric.backend import numeric_mode


def epochs_of(folder, **more):
    """The trainer after its epochs."""
    run = trainer_in(folder, **more)
    with numeric_mode():
        for number in range(run.task.epochs):
            run.epoch(number)
    return run


def numbers(run):
    return torch.cat([value.detach().flatten() for value in run.parameters.values()])


KEPT = ("model", "data", "save", "epochs", "batch_size", "warm_up", "ramp", "rate", "attacked", "attack_steps", "restarts", "method", "eps",
        "certify", "every", "drops", "width_weight", "domain", "width_layers", "elide", "curve", "init", "augment", "seed")


def trained(folder, **more):
    """`absint.train` with these options."""
    return absint.train(**{key: value for key, value in vars(options_in(folder, **more)).items() if key in KEPT})


def ordered(records):
    """clean <= PGD <= verified, on the same inputs."""
    for one in records:
        assert one.clean_n == one.pgd_n == one.verified_n > 0
        assert 0 <= one.clean_error <= one.pgd_error <= one.verified_error <= 1, one


@pytest.mark.parametrize("method", ["nominal", "pgd:steps=2", "ibp", "constrained-ibp"])
def test_errors_are_in_order_for_every_trained_network(tmp_path, method):
    ordered(trained(tmp_path, method=method, attacked=12, epochs=4, eps="0.2", certify="zonotope"))


def one_of(records, epoch):
    """The record of that epoch."""
    return next(one for one in records if one.epoch == epoch)


def test_of_a_network_that_was_trained_without_bounds_nothing_is_proved_at_a_large_radius(tmp_path):
    records = trained(tmp_path, method="nominal", eps="0.4", epochs=30, attacked=2, every=5, drops="none")
    assert records[-1].clean_error <= min(one.clean_error for one in records if one.clean_n), "of equally unproved ones the best is kept"
    assert records[-1].clean_error < 0.5
    assert records[-1].verified_error == 1.0
    bounded = trained(tmp_path, method="ibp", eps="0.1", epochs=30, every=10, drops="none", attacked=12, save=tmp_path / "other")
    assert bounded[-1].verified_error < 0.5, "with bounds in the loss something is"


def test_the_closing_figure_is_what_verify_says_of_the_file(tmp_path):
    """Image by image, by the same domain."""
    records = trained(tmp_path, method="ibp", eps="0.1", epochs=25, every=5, attacked=12)
    x, y = batch_of(trainer_in(tmp_path, save=tmp_path / "new").task)
    found = list(absint.verify(str(records.path), x.numpy(), y.numpy(), "0.1", domain="box", clip=(0, 1)))
    proved = [one.verdict.value == "verified" for one in found]
    assert len(proved) == records[-1].verified_n == 12
    assert 1 - sum(proved) / 12 == pytest.approx(records[-1].verified_error)
    assert 0 < sum(proved) < 12, "so that images differ"
    best = min((one for one in records if one.phase is not Phase.FINAL and one.verified_n), key=lambda one: one.verified_error)
    assert one_of(records, records[-1].epoch).verified_error == best.verified_error
    assert records[-1].verified_error == best.verified_error, "the same network, bounded in the same way"


def test_evaluations_are_at_the_full_radius_while_the_radius_still_rises(tmp_path):
    """A first epoch of warm-up alone: its verified error is that of the evaluation's radius, not 0's."""
    run = epochs_of(tmp_path, warm_up="3ep", ramp="1ep", epochs=1, eps="0.3")
    (record,) = run.records
    assert (record.phase, record.eps) == (Phase.WARM_UP, 0.0)
    assert record.width > 0
    assert record.verified_error > record.clean_error


def test_without_a_width_term_the_constrained_method_is_ibp_bit_for_bit(tmp_path):
    plain = epochs_of(tmp_path, method="ibp", save=tmp_path / "a")
    none = epochs_of(tmp_path, method="constrained-ibp", width_weight=0.0, save=tmp_path / "b")
    some = epochs_of(tmp_path, method="constrained-ibp", save=tmp_path / "c")
    assert torch.equal(numbers(plain), numbers(none))
    assert [one.loss for one in plain.records] == [one.loss for one in none.records]
    assert not torch.equal(numbers(plain), numbers(some))
    assert some.task.width_weight == 1.0


def test_the_width_term_makes_bounds_narrow(tmp_path):
    wide, narrow = (epochs_of(tmp_path, width_weight=weight, eps="0.2", epochs=15, every=15, attacked=1, save=tmp_path / str(weight))
                    for weight in (0.0, 3.0))
    assert narrow.records[-1].width < wide.records[-1].width / 3


@pytest.mark.parametrize("method", ["nominal", "pgd:steps=1", "ibp"])
@pytest.mark.parametrize("layers", ["hidden", "all"])
def test_the_width_term_goes_with_every_method(tmp_path, method, layers):
    without = epochs_of(tmp_path, method=method, every=2, attacked=1, save=tmp_path / "a")
    with_it = epochs_of(tmp_path, method=method, every=2, attacked=1, width_weight=0.5, width_layers=layers, save=tmp_path / "b")
    assert not torch.equal(numbers(without), numbers(with_it))
    assert torch.isfinite(numbers(with_it)).all()
    assert with_it.records[-1].loss > without.records[-1].loss


@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly"])
def test_gradients_flow_through_other_domains(tmp_path, domain):
    """The loss of one batch falls when steps follow them."""
    run = epochs_of(tmp_path, domain=domain, epochs=6, every=6, warm_up="0", ramp="1", eps="0.1", attacked=1)
    losses = [one.loss for one in run.records]
    assert losses[-1] < losses[0]
    assert torch.isfinite(numbers(run)).all()


def test_other_domains_train_otherwise(tmp_path):
    box, zonotope = (epochs_of(tmp_path, domain=domain, warm_up="0", ramp="0", epochs=1, save=tmp_path / domain)
                     for domain in ("box", "zonotope"))
    assert zonotope.records[0].loss < box.records[0].loss, "tighter bounds, a smaller worst case"


def test_every_option_of_a_schedule_reaches_the_steps(tmp_path):
    base = numbers(epochs_of(tmp_path, save=tmp_path / "0", every=9, attacked=1))
    changes = [{"kappa": 0.0}, {"curve": "smooth", "ramp": "5"}, {"eps_train": "0.2"}, {"drops": "2"}, {"elide": False},
               {"seed": 1}, {"init": "orthogonal"}, {"augment": "crop-flip"}, {"ramp_speed": 2.0}, {"rate": 0.02}]
    for k, change in enumerate(changes, 1):
        assert not torch.equal(base, numbers(epochs_of(tmp_path, save=tmp_path / str(k), every=9, attacked=1, **change))), change


def test_the_same_seed_gives_the_same_bits(tmp_path):
    first, second = (epochs_of(tmp_path, augment="crop-flip", method="pgd:steps=2", save=tmp_path / name) for name in "ab")
    assert torch.equal(numbers(first), numbers(second))
    assert (tmp_path / "a/best.onnx").read_bytes() == (tmp_path / "b/best.onnx").read_bytes()


def test_what_is_written_says_the_same(cli, tmp_path):
    """Journal, log, card, JSON and files."""
    result = tmp_path / "result.json"
    done = cli(*words_in(tmp_path, "--out", result))
    assert done.code == 0, done.err
    out = tmp_path / "out"
    document, card = json.loads(result.read_text()), json.loads((out / "model-card.json").read_text())
    log = read_log(out / "log.csv")
    assert [one.phase for one in log][-1] is Phase.FINAL
    assert len(log) == len(document["epochs"]) == 3
    rows = kept(out / "journal.jsonl")
    assert [row["verified_error"] for row in rows if "verified_error" in row] == [one.verified_error for one in log]
    assert document["summary"]["verified_error"] == log[-1].verified_error
    assert document["summary"]["test_n"] == 12
    assert "chosen by its verified error on the test inputs" in json.dumps(card)
    for name in ("best.onnx", "best.safetensors", "last.onnx", "checkpoint.safetensors"):
        assert (out / name).stat().st_size > 0


def test_the_best_epoch_is_that_of_the_least_verified_error():
    """Then by PGD error, clean error, and the latest."""
    def best(*errors):
        return trainer.best_of([EpochRecord(k, Phase.FULL, k + 1, k, verified_error=v, pgd_error=p, clean_error=c)
                                for k, (v, p, c) in enumerate(errors)]).index

    assert best((1.0, 0.5, 0.1), (0.4, 0.3, 0.2), (0.5, 0.1, 0.1)) == 1
    assert best((1.0, 1.0, 0.3), (1.0, 0.9, 0.2), (1.0, 1.0, 0.1)) == 1
    assert best((1.0, 1.0, 0.1), (1.0, 1.0, 0.2)) == 0
    assert best((0.2, 0.1, 0.1), (0.2, 0.1, 0.1), (0.3, 0.1, 0.1)) == 1
    assert best((None, None, None), (0.9, 0.1, 0.1), (None, None, None)) == 1


def test_the_best_epoch_is_kept_and_the_last_one_beside_it(tmp_path):
    """Where a radius that is far too large ruins the network later."""
    run = epochs_of(tmp_path, epochs=24, eps="0.1", eps_train="0.49", ramp="60", kappa=0.0, rate=0.05, drops="none", attacked=1)
    errors = [one.verified_error for one in run.records]
    assert errors[-1] > min(errors)
    kept = absint.load(tmp_path / "out" / "best.onnx")
    x, y = batch_of(run.task)
    found = absint.verify(kept, x.numpy(), y.numpy(), "0.1", domain="box", clip=(0, 1))
    assert 1 - sum(one.verdict.value == "verified" for one in found) / 12 == pytest.approx(min(errors))
    with torch.no_grad():
        last = absint.load(tmp_path / "out" / "last.onnx")(x)
        assert torch.allclose(last, run.task.network.graph.with_parameters(run.parameters)(x), atol=1e-6)


def test_the_returned_network_is_that_of_the_file(tmp_path):
    records = trained(tmp_path)
    x, _ = batch_of(trainer_in(tmp_path, save=tmp_path / "new").task)
    with torch.no_grad():
        assert np.array_equal(records.graph(x).numpy(), absint.load(records.path)(x).numpy())
    assert records.folder == tmp_path / "out"
