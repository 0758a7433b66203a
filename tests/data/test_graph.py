"""What parts share of one geometry."""

import gc
import weakref
from dataclasses import replace

import torch

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
