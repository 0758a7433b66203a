"""The optimizer for stacks of matrices."""

import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.training.optimizers import build_optimizer
from eqff.training.optimizers.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 32), (2, 32, 8)])
def test_orthogonalized_singular_values_are_near_one(shape):
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(shape, generator=generator, dtype=torch.float64)
    values = torch.linalg.svdvals(orthogonalize(matrices))
    assert values.min() > 0.3 and values.max() < 1.3  # the quintic's fixed band is about 0.7 to 1.2
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    cosine = (
        (orthogonalize(matrices) * (u @ vh)).sum((1, 2))
        / orthogonalize(matrices).norm(dim=(1, 2))
        / (u @ vh).norm(dim=(1, 2))
    )
    assert cosine.min() > 0.95


def test_a_stack_moves_like_its_matrices_one_by_one():
    generator = torch.Generator().manual_seed(1)
    start, gradient = torch.randn(2, 4, 8, 8, generator=generator)
    stack = torch.nn.Parameter(start.clone())
    singles = [torch.nn.Parameter(matrix.clone()) for matrix in start]
    together = Muon([{"params": [stack], "matrix": True}], lr=0.1)
    apart = Muon([{"params": singles, "matrix": True}], lr=0.1)
    for _ in range(3):
        stack.grad = gradient
        for matrix, part in zip(singles, gradient, strict=True):
            matrix.grad = part
        together.step()
        apart.step()
    torch.testing.assert_close(stack.detach(), torch.stack([m.detach() for m in singles]))


def test_other_parameters_follow_adam():
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    muon = Muon([{"params": [ours], "matrix": False}], adam_lr=0.02, betas=(0.9, 0.99))
    adam = torch.optim.Adam([theirs], lr=0.02, betas=(0.9, 0.99))
    for _ in range(5):
        for parameter, optimizer in ((ours, muon), (theirs, adam)):
            optimizer.zero_grad()
            (parameter**4).sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)  # float32 rounding of two kernels


def test_which_parameters_of_the_flagship_are_matrices():
    model = {
        "backbone": {"_target_": "eqff.backbones.equivariant.EquivariantMessagePassing", "channels": 16},
        "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy"}},
    }
    potential = build_potential(model, ModelContext(elements=(1, 8), reference_energies={1: 0.0, 8: 0.0}))
    config = {"name": "eqff.training.optimizers.muon.Muon", "lr": 0.03, "adam_lr": 0.01, "no_decay": [], "groups": {}}
    optimizer = build_optimizer(config, potential)
    rule = {id(p): group["matrix"] for group in optimizer.param_groups for p in group["params"]}
    named = dict(potential.named_parameters())
    assert rule.keys() == {id(p) for p in named.values()}
    assert rule[id(named["backbone.passes.0.up.weight"])]
    assert not rule[id(named["backbone.embedding"])]
    assert not rule[id(named["backbone.passes.0.residual_species"])]
    assert not rule[id(named["terms.local.linear.weight"])]
    rates = {group["matrix"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {True: 0.03, False: 0.01}


def test_learning_rates_must_be_positive():
    with pytest.raises(ValueError, match="lr=-1"):
        Muon([torch.nn.Parameter(torch.zeros(2))], lr=-1)


def test_steps_are_counted_where_parameters_are(monkeypatch):
    """Where the fused update of a GPU reads them; a state that is read from a file has them on the CPU."""
    devices = []
    monkeypatch.setattr(
        torch, "_fused_adamw_", lambda *lists, **_: devices.append({t.device.type for each in lists for t in each})
    )
    parameter = torch.nn.Parameter(torch.zeros(3, device="meta"))
    parameter.grad = torch.zeros_like(parameter)
    optimizer = Muon([parameter])
    optimizer.step()
    moments = {name: torch.zeros(3) for name in ("exp_avg", "exp_avg_sq")}
    optimizer.load_state_dict(optimizer.state_dict() | {"state": {0: moments | {"step": torch.ones(())}}})
    optimizer.step()
    assert devices == [{"meta"}, {"meta"}]
