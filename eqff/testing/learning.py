"""Checks that a potential can be trained, compiled, and kept in a file."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from ase import Atoms
from torch import Tensor

from eqff.checkpoints.model_file import load_model, save_model
from eqff.potential import Potential
from eqff.testing.base import Battery, comparable
from eqff.testing.compare import assert_close
from eqff.testing.tolerances import COMPILED
from eqff.training.optimizers.groups import parameter_groups


class LearningChecks(Battery):
    """What training and model files ask of a potential."""

    def loss(self, potential: Potential, structures: Sequence[Atoms] | None = None) -> Tensor:
        """A scalar that depends on the energy and everything that can be a label, with random weights."""
        graph = self.graph(potential, structures or list(self.structures().values()), potential.dtype)
        prediction = potential(graph, stress=True, create_graph=True)
        rng, total = torch.Generator().manual_seed(41), torch.zeros((), dtype=torch.float64)
        for name, value, _ in comparable(prediction):
            if name in potential.predicts:
                weights = torch.randn(value.shape, generator=rng, dtype=torch.float64)
                total = total + (weights * value).sum()
        return total

    def test_every_parameter_is_trained(self) -> None:
        """After one backward pass every trainable parameter has a gradient, finite and not zero."""
        potential = self.potential().train()
        names = [name for name, p in potential.named_parameters() if p.requires_grad]
        if not names:
            return
        self.loss(potential).backward()
        parameters = dict(potential.named_parameters())
        idle = [n for n in names if parameters[n].grad is None or not bool((parameters[n].grad != 0).any())]
        assert not idle, f"no gradient reaches {', '.join(idle)}: leave them out, or use them"
        broken = [n for n in names if not bool(parameters[n].grad.isfinite().all())]
        assert not broken, f"the gradient of {', '.join(broken)} is not finite"

    def test_every_parameter_is_optimized_once(self) -> None:
        """Each trainable parameter is in exactly one group of the optimizer."""
        potential = self.potential()
        grouped = [id(p) for group in parameter_groups(potential) for p in group["params"]]
        assert sorted(grouped) == sorted(id(p) for p in potential.parameters() if p.requires_grad)

    def test_file_keeps_every_number(self, tmp_path: Path) -> None:
        """A model file gives back the same predictions to the last digit."""
        if self.model is None:
            pytest.skip("a model file needs the potential's config: give `model` instead of make_potential")
        potential = self.potential(torch.float32)
        path = tmp_path / "model.safetensors"
        save_model(path, potential, model_config=self.model, context=self.context())
        structures = list(self.structures().values())
        before = self.predict(potential, structures, torch.float32)
        after = self.predict(load_model(path), structures, torch.float32)
        for name, value, _ in comparable(before):
            assert torch.equal(after[name], value), f"{name} differs after loading"

    @pytest.mark.slow
    def test_compiled_equals_eager(self) -> None:
        """The compiled training step has the same predictions and parameter gradients; takes minutes."""
        compiled = self.potential().train()
        structures = self._compiling(compiled)
        compiled.compile_training_step()
        self._compare(compiled, structures)

    @pytest.mark.slow
    def test_captured_equals_eager(self) -> None:
        """The same of what is captured to be compiled, whose operations run one by one."""
        captured = self.potential().train()
        structures = self._compiling(captured)
        captured.compile_training_step("none")
        self._compare(captured, structures)

    def _compiling(self, potential: Potential) -> list[Atoms]:
        """All structures, twice if there is only one: one of anything is special."""
        parts = potential.ordered_parts().values()
        if not all(part.compiles or part.compiles_open or part.runs_inside for part in parts):
            pytest.skip("a part of it says that it can't be compiled")
        found = list(self.structures().values())
        return found if len(found) > 1 else found * 2

    def _compare(self, compiled: Potential, structures: Sequence[Atoms]) -> None:
        eager = self.potential().train()
        graph = self.graph(eager, structures)
        expected, found = (p(graph, stress=True, create_graph=True) for p in (eager, compiled))
        for name, value, _ in comparable(expected):
            assert_close(found[name], value, COMPILED, name)
        if any(p.requires_grad for p in eager.parameters()):
            for potential in (eager, compiled):
                self.loss(potential, structures).backward()
            for (name, parameter), other in zip(eager.named_parameters(), compiled.parameters(), strict=True):
                assert_close(other.grad, parameter.grad, COMPILED, name)

    def test_copies_are_independent(self) -> None:
        """A deep copy, as averaging of weights makes one, shares nothing with its original."""
        potential = self.potential()
        twin, structures = copy.deepcopy(potential), list(self.structures().values())
        before = self.predict(potential, structures)["energy"]
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert torch.equal(self.predict(potential, structures)["energy"], before)
