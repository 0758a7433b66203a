"""Frozen tables: rows of known elements stay bit by bit, those of new elements are trained."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule
from eqff.training.finetuning.freezing import freeze
from eqff.training.optimizers import build_optimizer

ELEMENTS = (1, 3, 6, 8)
MODEL = {
    "backbone": {"_target_": "eqff.backbones.painn.PaiNN", "channels": 8},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy"}},
}
MUON = {"name": "eqff.training.optimizers.muon.Muon", "lr": 0.02, "adam_lr": 0.01, "weight_decay": 0.1}
ADAM = {"name": "AdamW", "lr": 0.01, "weight_decay": 0.1}


def potential():
    torch.manual_seed(0)
    return build_potential(MODEL, ModelContext(ELEMENTS, dict.fromkeys(ELEMENTS, -1.0)), torch.float64)


def steps(model, optimizer, count=3):
    graph = graph_of(
        [molecule(1, 6, elements=ELEMENTS), molecule(2, 8, elements=ELEMENTS)], {"local": 5.0}, torch.float64
    )
    groups = [p for group in optimizer.param_groups for p in group["params"]]
    for _ in range(count):
        optimizer.zero_grad()
        loss = model(graph, forces=True)["forces"].square().sum()
        loss.backward(inputs=groups)  # as in training, where positions are leaves too
        optimizer.step()


@pytest.mark.parametrize("settings", [MUON, ADAM], ids=["muon", "adamw"])
def test_rows_of_known_elements_stay_and_those_of_new_ones_move(settings):
    model = potential()
    frozen = freeze(model, ["backbone.*"], {"backbone.embedding": (0,)}, [3])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = build_optimizer(settings, model)
    frozen.watch(optimizer)
    steps(model, optimizer)
    after = model.state_dict()
    known = torch.tensor([0, 2, 3])
    assert torch.equal(after["backbone.embedding"][known], before["backbone.embedding"][known])
    assert not torch.isclose(after["backbone.embedding"][1], before["backbone.embedding"][1]).any()
    others = [name for name in before if name.startswith("backbone.") and name != "backbone.embedding"]
    assert all(torch.equal(after[name], before[name]) for name in others)
    assert not torch.equal(after["terms.local.linear.weight"], before["terms.local.linear.weight"])


def test_frozen_rows_count_in_no_norm_of_gradients():
    model = potential()
    freeze(model, ["backbone.*"], {"backbone.embedding": (0,)}, [3])
    steps(model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.0), count=1)
    gradient = model.backbone.embedding.grad
    assert not gradient[torch.tensor([0, 2, 3])].any()
    assert gradient[1].any()


def test_what_is_frozen_is_counted_and_said():
    model = potential()
    total = sum(p.numel() for p in model.backbone.parameters())
    frozen = freeze(model, ["backbone.*"], {"backbone.embedding": (0,)}, [3])
    assert frozen.count == total - 8
    assert str(frozen) == f"{total - 8:,} weights frozen; rows of new elements are trained in 1 frozen tables"
    assert not str(freeze(potential(), []))
    assert "rows" not in str(freeze(potential(), ["backbone.*"]))


def test_rows_along_two_dimensions():
    """A table of pairs: whatever a new element has a part in is trained."""
    model = potential()
    model.backbone.pairs = nn.Parameter(torch.ones(4, 4, dtype=torch.float64))
    frozen = freeze(model, ["backbone.pairs"], {"backbone.pairs": (0, 1)}, [3])
    model.backbone.pairs.square().sum().backward()
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[1], expected[:, 1] = 2.0, 2.0
    assert torch.equal(model.backbone.pairs.grad, expected)
    assert frozen.count == 9


def test_rows_for_atomic_numbers():
    """A table that begins at 0, which has more rows than there are elements."""
    model = potential()
    model.backbone.numbered = nn.Parameter(torch.ones(9, 2, dtype=torch.float64))
    freeze(model, ["backbone.numbered"], {"backbone.numbered": (0,)}, [3])
    model.backbone.numbered.sum().backward()
    assert model.backbone.numbered.grad.any(dim=1).nonzero().flatten().tolist() == [3]


def test_all_frozen_but_rows_of_new_elements():
    model = potential()
    freeze(model, ["*"], {"backbone.embedding": (0,)}, [3])
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["backbone.embedding"]
    with pytest.raises(ConfigError, match="no table has rows of new elements"):
        freeze(potential(), ["*"])
