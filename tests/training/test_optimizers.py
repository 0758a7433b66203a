"""Every trainable parameter in exactly one group, and the group it belongs to."""

import pytest
import torch
from torch import nn

from eqff.errors import ConfigError
from eqff.training.optimizers import build_optimizer
from eqff.training.optimizers.groups import parameter_groups

MUON = "eqff.training.optimizers.muon.Muon"


def model():
    net = nn.ModuleDict({"backbone": nn.Linear(4, 4), "terms": nn.Linear(4, 1), "frozen": nn.Linear(2, 2)})
    net["frozen"].requires_grad_(False)
    return net


def names_by_group(net, groups):
    names = {id(p): name for name, p in net.named_parameters()}
    return {group["name"]: [names[id(p)] for p in group["params"]] for group in groups}


def test_each_trainable_parameter_once():
    net = model()
    groups = parameter_groups(net, {"readout": {"match": "terms.*", "lr": 0.1}}, ["backbone.weight"])
    found = [name for group in names_by_group(net, groups).values() for name in group]
    assert sorted(found) == sorted(name for name, p in net.named_parameters() if p.requires_grad)
    assert [g["lr"] for g in groups if "lr" in g] == [0.1, 0.1]


def test_biases_and_listed_weights_do_not_decay():
    optimizer = build_optimizer({"name": "AdamW", "lr": 1e-3, "weight_decay": 0.3, "no_decay": ["terms.*"]}, model())
    decays = {tuple(p.shape): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decays == {(4, 4): 0.3, (4,): 0.0, (1, 4): 0.0, (1,): 0.0}


@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam", "RMSprop", "LBFGS"])
def test_any_of_torch(name):
    assert type(build_optimizer({"name": name, "lr": 1e-3}, _one_group())).__name__ == name


def _one_group():
    return nn.Linear(3, 3, bias=False)  # LBFGS takes one group only


def test_path_of_a_class():
    optimizer = build_optimizer({"name": "eqff.training.optimizers.muon.Muon", "lr": 0.02, "adam_lr": 0.01}, _large())
    rates = {p.ndim: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates == {2: 0.02, 1: 0.01}


def _large():
    return nn.Linear(16, 16)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "AdanW"}, "Did you mean 'AdamW'"),
        ({"name": "os.path.join"}, "not in an allowed package"),
        ({"name": "eqff.potential.Potential"}, "a Optimizer is needed"),
        ({"name": "AdamW", "weight_dekay": 0.1}, "Did you mean 'weight_decay'"),
        ({"name": "AdamW", "lr": -1.0}, "Invalid learning rate"),
        ({"name": "AdamW", "groups": {"a": {"match": "term.*"}}}, "matches no trainable parameter"),
        ({"name": "AdamW", "groups": {"a": {"lr": 0.1}}}, "match is missing"),
        ({"name": "AdamW", "groups": {"a": {"match": "terms.*"}, "b": {"match": "*.bias"}}}, "both match"),
        ({"name": "AdamW", "groups": {"a": {"match": "terms.*", "weight_dekay": 0.1}}}, "a.weight_dekay is not a"),
        ({"name": "AdamW", "groups": {"a": {"match": "terms.*", "lr": "fast"}}}, "groups.a.lr is 'fast', but must be"),
        ({"name": MUON, "groups": {"a": {"match": "terms.*", "adam_lr": 0.1}}}, "a.adam_lr is not a setting.*Known: "),
        ({"name": "AdamW", "no_decay": ["term.*"]}, r"no_decay: 'term\.\*' matches no trainable parameter"),
        ({}, "name is missing"),
    ],
)
def test_messages(config, message):
    with pytest.raises(ConfigError, match=message):
        build_optimizer(config, model())


def test_step_moves_only_what_is_trainable():
    net = model()
    optimizer = build_optimizer({"name": "AdamW", "lr": 0.1}, net)
    before = {name: p.clone() for name, p in net.named_parameters()}
    net["terms"](net["backbone"](torch.ones(1, 4))).sum().backward()
    optimizer.step()
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"backbone.weight", "backbone.bias", "terms.weight", "terms.bias"}
