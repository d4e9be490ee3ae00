"""The networks on disk are those of the checkpoint whenever a kill came, and figures are of the network that is kept, or of none."""

from __future__ import annotations

from math import inf

import pytest
from trainings import data_file, options_in

from absint.analyses.train import trainer as module
from absint.analyses.train.task import check_options, schedule_of, task_of
from absint.analyses.train.trainer import Trainer
from absint.errors import AbsintError
from absint.numeric.backend import numeric_mode

FILES = ("best.onnx", "best.safetensors", "last.onnx")


class KilledError(Exception):
    """Where the process ends."""


def trainer(folder, *, resume=False, **more) -> Trainer:
    options = options_in(folder, **more)
    options.save.mkdir(exist_ok=True)
    return Trainer(task_of(options), lambda text: None, inf, lambda text: None, resume=resume)


@pytest.mark.parametrize("after", range(5))
def test_a_kill_between_two_files_of_an_epoch_leaves_them_as_one_training(tmp_path, monkeypatch, after):
    """The epoch's files: the checkpoint before its evaluation, that behind it, then the networks."""
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    folder.mkdir(), whole.mkdir()
    with numeric_mode():
        undisturbed = trainer(whole, data=data_file(tmp_path), epochs=1)
        undisturbed.epoch(0)
        written = []

        def writing(write):
            def counted(*given):
                if len(written) >= after:
                    raise KilledError
                written.append(given)
                write(*given)

            return counted

        with monkeypatch.context() as patch:
            patch.setattr(module, "write_whole", writing(module.write_whole))
            patch.setattr(module, "write_state", writing(module.write_state))
            with pytest.raises(KilledError):
                trainer(folder, data=data_file(tmp_path), epochs=1).epoch(0)
        again = trainer(folder, data=data_file(tmp_path), epochs=1, resume=True)
        if again.records:       # nothing may be left to be measured again: another number of threads could measure another thing
            assert all((folder / "out" / name).exists() for name in FILES)
        again.epoch(0)
    assert all((folder / "out" / name).read_bytes() == (whole / "out" / name).read_bytes() for name in FILES)
    assert again.best()[0] == (whole / "out" / "best.onnx").read_bytes()


@pytest.mark.parametrize("lost", ["best.onnx", "best.safetensors"])
def test_a_network_that_is_not_the_best_epochs_is_not_measured_as_that(tmp_path, lost):
    with numeric_mode():
        one = trainer(tmp_path)
        one.epoch(0)
        (tmp_path / "out" / lost).unlink()
        with pytest.raises(AbsintError) as raised:
            one.best()
    assert raised.value.code.startswith("E-CHECKPOINT")


def test_a_checkpoint_is_bound_to_what_its_records_were_measured_by(tmp_path):
    with numeric_mode():
        trainer(tmp_path).epoch(0)
        for other in ({"certify": "zonotope"}, {"attacked": 5}, {"every": 2}):
            with pytest.raises(AbsintError) as raised:
                trainer(tmp_path, resume=True, **other)
            assert raised.value.code == "E-CHECKPOINT-OTHER"


@pytest.mark.parametrize(("bad", "code"), [({"certify": "nonsense"}, "E-DOMAIN-UNKNOWN"), ({"ramp_speed": 1e-310}, "E-TRAIN-OPTION"),
                                           ({"drop_factor": 1e300}, "E-TRAIN-OPTION"), ({"epochs": 10**12}, "E-TRAIN-OPTION"),
                                           ({"eps": "1e400", "clip": "none"}, "E-EPS"),
                                           ({"eps_train": "1e39", "clip": "none"}, "E-EPS")])
def test_what_cannot_be_is_told_before_the_first_step(tmp_path, bad, code):
    def checked(options):
        check_options(options)
        return schedule_of(options, 24)

    with pytest.raises(AbsintError) as raised:
        checked(options_in(tmp_path, **bad))
    assert raised.value.code == code


def test_data_of_one_class_is_refused(tmp_path):
    with pytest.raises(AbsintError) as raised:
        task_of(options_in(tmp_path, data=data_file(tmp_path, classes=1)))
    assert raised.value.code == "E-DATA-CLASSES"
