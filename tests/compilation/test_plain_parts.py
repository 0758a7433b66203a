"""Parts that run as they are within captured steps: the same numbers, derivatives, refusals; nothing is left behind."""

import gc
import logging
from dataclasses import replace

import pytest
import torch
from test_open_structures import ENERGIES, ions, require_same
from torch._subclasses.fake_tensor import FakeTensorMode

from eqff.compilation import tapes
from eqff.compilation.plain_parts import called, results_of, with_plain_parts
from eqff.compilation.prediction import CompiledPrediction
from eqff.compilation.tapes import Tapes
from eqff.derivatives import differentiate
from eqff.errors import ModelError
from eqff.heads.charge_equilibration import ChargeEquilibration
from eqff.heads.split_charges import SplitCharges
from eqff.parts import Head, Term
from eqff.potential import Potential
from eqff.terms.coulomb import Coulomb
from eqff.terms.field_energy import FieldEnergy
from eqff.testing.graphs import on_each_other
from eqff.testing.structures import crystal


class Scalars(Head):
    """Something to learn from, without a backbone."""

    reads = ("positions",)
    writes = ("pass_scalars",)

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 4)

    def forward(self, graph, fields):
        return {"pass_scalars": self.linear(graph.positions).tanh()[:, None, :]}


class Charges(Head):
    """Charges from scalars."""

    reads = ("pass_scalars",)
    writes = ("charges",)

    def forward(self, graph, fields):
        return {"charges": fields["pass_scalars"].square().sum(dim=(1, 2))}


class Springs(Term):
    """Looks at values, has a weight, writes a field, and is nonlinear in everything that it reads."""

    reads = ("positions", "cell", "charges")
    writes = ("volume_ratios",)
    level = "structure"
    compiles = False

    def __init__(self):
        super().__init__()
        self.stiffness = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
        self.calls = 0

    def forward(self, graph, fields):
        self.calls += 1
        if bool((graph.positions.detach().abs() > 100).any()):
            raise ModelError("too far")
        some = graph.positions[(graph.positions[:, 0] > 0).nonzero()[:, 0]]  # as many as there are
        stretch = self.stiffness * (some.square().sum() * fields["charges"].square().sum()).sqrt()
        strained = graph.cell.sum(dim=(1, 2)).sin()
        ratios = 1 + (self.stiffness * fields["charges"]).tanh()
        return {"energy": stretch + strained + graph.total_charge, "volume_ratios": ratios}


def sprung() -> Potential:
    torch.manual_seed(0)
    heads = {"scalars": Scalars(), "charges": Charges()}
    terms = {"springs": Springs(), "coulomb": Coulomb(short_range="switch", switch=(1.0, 5.0))}
    return Potential(None, terms, heads, elements=tuple(ENERGIES)).double().train()


@pytest.fixture(scope="module")
def springs() -> CompiledPrediction:
    """One code, of which those who use it leave the weights as they were."""
    compiled = CompiledPrediction(sprung(), "none")
    compiled(ions(compiled._potential, 4, 5), False)
    return compiled


def test_they_are_nodes_with_all_derivatives(caplog):
    compiled = CompiledPrediction(sprung(), "none")
    with caplog.at_level(logging.INFO, logger="eqff"):
        for sizes in ((6, 5, 4), (3, 7)):
            plain = require_same(compiled, *sizes)
    assert "volume_ratios" in plain and float(plain["energy_springs"].detach().abs().min()) > 1e-3
    lines = [record.getMessage() for record in caplog.records if "as before within it" in record.getMessage()]
    assert len(lines) == 1 and "model.terms.springs runs" in lines[0]
    (code,) = [code for codes in compiled._codes.values() for code in codes]
    nodes = [[str(node.target) for node in part.graph.nodes] for part in (code.predict, code.derive)]
    counts = [[part.count(f"eqff.plain_{name}.default") for name in ("value", "first", "second")] for part in nodes]
    assert counts == [[1, 1, 0], [0, 1, 1]]


def test_stress_and_crystals_go_through_them():
    potential = sprung()
    compiled = CompiledPrediction(potential, "none")
    graph = ions(potential, 4, 5, more=(crystal(1),))
    found, plain = compiled(graph, True), differentiate(potential.energy, graph, stress=True, create_graph=True)
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, rtol=1e-11, atol=1e-11)


def test_they_run_once_a_step(springs):
    potential = springs._potential
    before = potential.terms["springs"].calls
    found = springs(ions(potential, 4, 5), False)
    torch.autograd.grad(found["forces"].square().sum(), potential.terms["springs"].stiffness)
    assert potential.terms["springs"].calls == before + 1


def test_steps_may_overlap_and_leave_nothing_behind(springs):
    potential = springs._potential
    graphs = [ions(potential, 4, 5), ions(potential, 3, 6, 2)]
    trained = [p for p in potential.parameters() if p.requires_grad]

    def slopes(predict):
        losses = [predict(graph)["forces"].square().sum() for graph in graphs]
        return [torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True) for loss in losses]

    found = slopes(lambda graph: springs(graph, False))
    plain = slopes(lambda graph: differentiate(potential.energy, graph, create_graph=True))
    for ours, theirs in zip(found, plain, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    gc.collect()
    assert not len(tapes._tapes)


def test_their_refusals_are_their_own(springs):
    graph = ions(springs._potential, 4, 5)
    with pytest.raises(ModelError, match="^too far$"):
        springs(replace(graph, positions=graph.positions + 1000.0), False)


def test_derivatives_against_differences():
    """Of the operations by themselves, by positions, cell, a field and a weight."""
    potential = sprung()
    part, graph = potential.terms["springs"], ions(potential, 3, 2, more=(crystal(1),))
    charges = torch.randn(graph.num_atoms).double()
    with torch.no_grad():
        prediction = {"energy_springs": part(graph, {"charges": charges})["energy"], "volume_ratios": charges}
    followed = {name: value.requires_grad_() for name, value in prediction.items()}
    results = results_of({"terms.springs": part}, followed)

    def run(positions, cell, charges, stiffness):
        here = replace(graph, positions=positions, cell=cell)
        kept = Tapes({"terms.springs": part}, graph)
        with torch.nn.utils.stateless._reparametrize_module(part, {"stiffness": stiffness}):
            with with_plain_parts(results, kept.call):
                found = called("terms.springs", part, here, {"charges": charges})
        everything.append(kept)
        return tuple(found.values())

    everything = []
    inputs = [
        value.detach().clone().requires_grad_() for value in (graph.positions, graph.cell, charges, part.stiffness)
    ]
    torch.autograd.gradcheck(run, inputs)
    torch.autograd.gradgradcheck(run, inputs)


def test_what_can_be_differentiated_for_later_batches_only_is():
    """A term that gave a constant when the step was captured, as one of a field where there is none."""
    potential = sprung()
    springs, given = potential.terms["springs"], Springs.forward

    class Later(Springs):
        def forward(self, graph, fields):
            found = given(self, graph, fields)
            first = bool((graph.total_charge != 0).any())
            return found if first else {name: value.detach() for name, value in found.items()}

    springs.__class__ = Later
    compiled = CompiledPrediction(potential, "none")
    compiled(ions(potential, 4), False)
    neutral, charged = (replace(ions(potential, 3, 5), total_charge=torch.tensor([q, 0.0]).double()) for q in (0, 1))
    for graph in (neutral, charged, neutral):
        found, plain = compiled(graph, False), differentiate(potential.energy, graph, create_graph=True)
        for name, value in plain.items():
            torch.testing.assert_close(found[name], value, rtol=1e-11, atol=1e-11)
        ours, theirs = ((each["energy"].sum() + each["forces"].square().sum()) for each in (found, plain))
        trained = list(potential.parameters())
        for one, other in zip(
            *(torch.autograd.grad(v, trained, allow_unused=True, materialize_grads=True) for v in (ours, theirs)),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


def test_other_shapes_than_were_captured_are_refused(springs, monkeypatch):
    part = springs._potential.terms["springs"]

    class Shaped(Springs):
        def forward(self, graph, fields):
            found = super().forward(graph, fields)
            return found | {"volume_ratios": found["volume_ratios"][1:]}

    monkeypatch.setattr(part, "__class__", Shaped)
    with pytest.raises(ModelError, match=r"volume_ratios \(8,\); the compiled training step takes"):
        springs(ions(springs._potential, 4, 5), False)


def test_third_derivatives_are_one_message():
    potential = sprung()
    part, graph = potential.terms["springs"], ions(potential, 3, 2)
    charges = torch.ones(graph.num_atoms).double().requires_grad_()
    written = part(graph, {"charges": charges})
    results = results_of({"terms.springs": part}, {"energy_springs": written["energy"], **written})
    kept = Tapes({"terms.springs": part}, graph)
    with with_plain_parts(results, kept.call):
        energy = called("terms.springs", part, graph, {"charges": charges})["energy"].sum()
    (first,) = torch.autograd.grad(energy, charges, create_graph=True)
    with pytest.raises(NotImplementedError, match="third derivatives"):
        torch.autograd.grad(first.sum(), charges, create_graph=True)


def equilibrating(head: type, **settings) -> Potential:
    torch.manual_seed(0)
    heads = {"scalars": Scalars(), "charges": head(4, 1, tuple(ENERGIES), hidden=4, max_width=0.8, **settings)}
    return Potential(None, {"equilibration": FieldEnergy()}, heads, elements=tuple(ENERGIES)).double().train()


@pytest.fixture(scope="module")
def equilibrium() -> CompiledPrediction:
    """One code, of which those who use it leave the weights as they were."""
    compiled = CompiledPrediction(equilibrating(ChargeEquilibration), "none")
    compiled(ions(compiled._potential, 4, 5), False)
    return compiled


def test_no_node_gives_a_list_of_one():
    with FakeTensorMode():
        ticket, value = torch.zeros(2, dtype=torch.long), torch.zeros(3)
        assert len(torch.ops.eqff.plain_first([0], [0], False, ticket, [value], [value])) > 1
        assert len(torch.ops.eqff.plain_second([0], ticket, [value], [value])) > 1


@pytest.mark.parametrize("head", [ChargeEquilibration, pytest.param(SplitCharges, marks=pytest.mark.slow)])
def test_matrices_of_open_structures_are_factorised_by_nodes(head):
    """One code for ions of all sizes; larger ones than are factorised run as they are, with iterations."""
    compiled = CompiledPrediction(equilibrating(head, dense_up_to=8, tolerance=1e-12), "none")
    for sizes in ((6, 5, 4), (3, 7), (8, 2, 4)):
        plain = require_same(compiled, *sizes, rounding=1e-11)
    assert float(plain["charges"].detach().abs().max()) > 1e-3
    (code,) = [code for codes in compiled._codes.values() for code in codes]
    nodes = {str(node.target) for node in code.predict.graph.nodes}
    assert nodes & {"eqff.constrained_factor.default", "eqff.transfer_factors.default"}
    assert not any("plain" in node for node in nodes)
    require_same(compiled, 9, 4, rounding=1e-8)
    assert sum(map(len, compiled._codes.values())) == 2


def test_what_has_no_minimum_is_refused_by_the_code_too(equilibrium):
    potential = equilibrium._potential
    width = potential.heads["charges"].raw_width
    before = width.detach().clone()
    with torch.no_grad():
        width.fill_(torch.nan)
    with pytest.raises(ModelError, match="The charge equilibration of structure 0"):
        equilibrium(ions(potential, 4, 5), False)
    with torch.no_grad():
        width.copy_(before)


def test_fields_act_in_compiled_steps(equilibrium):
    potential = equilibrium._potential
    graph = ions(potential, 4, 5)
    acting = replace(graph, electric_field=torch.tensor([[0.1, 0.0, 0.2], [0.0, 0.0, 0.0]], dtype=torch.float64))
    found, plain = equilibrium(acting, False), differentiate(potential.energy, acting, create_graph=True)
    without = differentiate(potential.energy, graph)["charges"]
    assert float((plain["charges"] - without).detach().abs().max()) > 1e-3
    for name in ("energy", "forces", "charges"):
        torch.testing.assert_close(found[name], plain[name], rtol=1e-11, atol=1e-11)
    assert sum(map(len, equilibrium._codes.values())) == 1


def test_two_atoms_on_each_other_are_refused(equilibrium):
    graph = on_each_other(ions(equilibrium._potential, 4, 3), 5, 4, apart=1e-5)
    with pytest.raises(ModelError, match="apart"):
        equilibrium(graph, False)
