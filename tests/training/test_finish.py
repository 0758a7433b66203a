"""Tests after a training: they run where it ran, and without a GPU's memory on the CPU."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from eqff.train import train
from eqff.training import finish, run

GPU = torch.device("cuda", 1)


class Moved:
    """A potential that only knows where it is."""

    def __init__(self):
        self.device = torch.device("cpu")

    def to(self, device):
        self.device = device

    def cpu(self):
        self.device = torch.device("cpu")

    def buffers(self):
        yield self


def test_the_model_goes_where_training_ran_and_comes_back():
    potential = Moved()
    with finish.computing_on(GPU, potential):
        assert potential.device == GPU
    assert potential.device.type == "cpu"
    with pytest.raises(ValueError, match="x"), finish.computing_on(GPU, potential):
        raise ValueError("x")
    assert potential.device.type == "cpu"


def test_test_sets_are_evaluated_on_the_device_of_the_fit(compose, water_file, monkeypatch):
    entered, during, fit, evaluate = [], [], run.fit, finish.evaluate_potential

    @contextmanager
    def recording(device, potential):
        entered.append(device)
        yield
        entered.clear()

    def evaluated(*arguments, **options):
        during.extend(entered)
        return evaluate(*arguments, **options)

    monkeypatch.setattr(run, "fit", lambda *arguments: replace(fit(*arguments), device=GPU))
    monkeypatch.setattr(finish, "computing_on", recording)
    monkeypatch.setattr(finish, "evaluate_potential", evaluated)
    train(compose(f"+data.test.far={water_file}@:2"))
    assert during == [GPU]


def test_the_device_of_the_fit_is_that_of_the_trainer(compose, monkeypatch):
    fit, outcomes = run.fit, []
    monkeypatch.setattr(run, "fit", lambda *arguments: outcomes.append(fit(*arguments)) or outcomes[-1])
    train(compose())
    assert [outcome.device for outcome in outcomes] == [torch.device("cpu")]


def test_a_set_that_exceeds_the_gpu_is_evaluated_on_the_cpu(monkeypatch, capsys):
    potential, devices = Moved(), []
    potential.to(GPU)

    def evaluate(potential, frames, name):
        devices.append(potential.device.type)
        if potential.device == GPU:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return name

    monkeypatch.setattr(finish, "evaluate_potential", evaluate)
    prepared = SimpleNamespace(module=SimpleNamespace(potential=potential), console=Console())
    assert finish._evaluated(prepared, "far", []) == "far" and devices == ["cuda", "cpu"]
    assert "Test set 'far'" in capsys.readouterr().out


def test_a_cpu_without_memory_is_an_error(monkeypatch):
    def evaluate(potential, frames, name):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(finish, "evaluate_potential", evaluate)
    with pytest.raises(torch.OutOfMemoryError):
        finish._evaluated(SimpleNamespace(module=SimpleNamespace(potential=Moved())), "far", [])
