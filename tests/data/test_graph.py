"""What parts share of one geometry."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from eqff.data.flat import pack, unpack
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule, wire


def test_what_is_shared_is_made_once_for_each_geometry():
    graph, made = graph_of([molecule(1)], {}, torch.float64), []

    def make():
        made.append(torch.is_grad_enabled())
        return len(made)

    assert graph.once("a", make) == graph.once("a", make) == 1 and graph.once("b", make) == 2
    with torch.no_grad():  # has no derivatives, so it is not what others may take
        assert graph.once("a", make) == 3
    assert graph.once("a", make) == 1 and made == [True, True, False]
    assert graph.deformed(graph.positions + 1).once("a", make) == 4
    assert replace(graph, cell=graph.cell + 1).once("a", make) == 5


def test_sharing_does_not_keep_a_graph_alive():
    interaction = MultipoleInteraction(cutoff=4.0, accuracy=1e-4)
    graph = graph_of([molecule(1), crystal(2)], interaction.neighbour_lists, torch.float64)
    moved = graph.deformed(graph.positions.clone().requires_grad_())
    interaction.bind(moved)
    alive = weakref.ref(moved.positions)
    gc.disable()  # a cycle of references would have to wait for it
    try:
        del moved
        assert alive() is None
    finally:
        gc.enable()


def test_what_compiled_code_gets_is_contiguous():
    graph = graph_of([crystal(1)], {"local": 3.0}, torch.float64)
    turned = replace(graph, positions=graph.positions.t().contiguous().t(), cell=graph.cell.mT.contiguous().mT)
    assert not turned.positions.is_contiguous() and not turned.cell.is_contiguous()
    for ours, theirs in zip(pack(turned, ("local",)), pack(graph, ("local",)), strict=True):
        assert ours.is_contiguous() and torch.equal(ours, theirs)


def test_whether_all_are_open_is_known_and_kept():
    molecules, mixed = ([molecule(1), molecule(2)], [molecule(1), wire(2)])
    for structures, expected in ((molecules, True), (mixed, False)):
        graph = graph_of(structures, {"local": 3.0}, torch.float64)
        assert graph.open is expected and graph.deformed(graph.positions).open is expected
    assert not unpack(pack(graph, ("local",)), ("local",)).open


class Operations(TorchDispatchMode):
    """Names of all operations that run."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("structures", [[crystal(1)], [crystal(1), crystal(2), molecule(3)]], ids=["one", "several"])
def test_geometry_takes_no_matrix_products_which_tf32_would_round(structures):
    with Operations() as operations:
        graph = graph_of(structures, {"local": 3.0}, torch.float32)
        strain = torch.zeros(len(structures), 3, 3, requires_grad=True)
        moved = graph.deformed(graph.positions.requires_grad_(), strain)
        torch.autograd.grad(moved.local.lengths.sum(), [graph.positions, strain])
    assert "linalg_vector_norm" in operations.names
    assert not {"mm", "bmm", "addmm", "baddbmm", "mv"} & operations.names
