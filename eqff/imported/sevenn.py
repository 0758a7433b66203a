"""SevenNet's checkpoints [Park et al., J. Chem. Theory Comput. 20, 4857 (2024)] as eqff models: ``sevenn://NAME``.

SevenNet is NequIP with a linear readout, so its weights fit `eqff.backbones.nequip.NequIP` and
`eqff.terms.local.LocalEnergy`. What e3nn multiplies at run time (path weights, gains of activations) is multiplied into
them here; in exact arithmetic nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

from eqff.build import ModelContext, build_potential
from eqff.errors import ModelFileError
from eqff.imported.sevenn_config import channels_of_passes, model_config_of, require_supported
from eqff.nn.convolution import convolution_paths
from eqff.potential import Potential


@dataclass(frozen=True)
class Converted:
    """A model of eqff's parts, with what a model file keeps of it."""

    potential: Potential
    model_config: dict[str, Any]
    context: ModelContext


def convert(config: Mapping[str, Any], state: Mapping[str, Tensor], level: str, dtype: torch.dtype) -> Converted:
    """A SevenNet model in eqff's parts.

    Args:
        config: Of the checkpoint, with SevenNet's defaults filled in.
        state: The weights as today's SevenNet loads them.
        level: Level of theory of the energies.
        dtype: Of the weights.

    Raises:
        ModelFileError: The checkpoint has something that these parts have not.
    """
    require_supported(config)
    species = sorted(config["_type_map"], key=config["_type_map"].get)  # atomic numbers, in the order of its tables
    order = sorted(range(len(species)), key=species.__getitem__)
    irreps = channels_of_passes(config["irreps_manual"])
    model_config = model_config_of(config, irreps)
    context = ModelContext(
        elements=tuple(sorted(species)),
        reference_energies=_shifts(state, species),
        energy_scale=_scale(state),
        mean_neighbours=float(state["0_convolution.denominator"]) ** 2,
        level_of_theory=level,
    )
    potential = build_potential(model_config, context, torch.float64)
    weights = {name: value for name, value in potential.state_dict().items() if name.endswith(("values", "scale"))}
    potential.load_state_dict(weights | _weights(irreps, {k: v.double() for k, v in state.items()}, order, config))
    potential.to(dtype)
    return Converted(potential.eval(), model_config, context)


def _weights(
    irreps: Sequence[tuple[int, ...]], state: Mapping[str, Tensor], order: Sequence[int], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """All weights under eqff's names, float64.

    eqff's features behind a gate are SevenNet's divided by `_gain`: what reads them is multiplied by it.
    """
    embedding = state["onehot_to_feature_x.linear.weight"].reshape(len(order), -1)
    found = {
        "backbone.embedding": embedding[order] / math.sqrt(len(order)),
        "backbone.basis.frequencies": state["edge_embedding.basis_function.coeffs"],
    }
    last = len(irreps) - 2
    for index in range(last + 1):
        higher = len(irreps[1])
        found |= _interaction(index, irreps[index], irreps[index + 1], higher, state, float(config["cutoff"]))
    readout = _matrices(state["reduce_input_to_hidden.linear.weight"], irreps[-1], (irreps[-1][0] // 2,))[0]
    readout = readout @ _matrices(state["reduce_hidden_to_energy.linear.weight"], (readout.shape[1],), (1,))[0]
    silent = torch.zeros(1, last * irreps[-1][0], dtype=torch.float64)  # earlier passes are not read
    found["terms.local.linear.weight"] = torch.cat([silent, _gain() * readout.T], dim=1)
    return found


def _interaction(
    index: int,
    channels_in: tuple[int, ...],
    channels_out: tuple[int, ...],
    degrees: int,
    state: Mapping[str, Tensor],
    cutoff: float,
) -> dict[str, Tensor]:
    """Weights of one pass."""
    place, gain = f"backbone.interactions.{index}", _gain() if index else 1.0
    paths = convolution_paths(len(channels_in) - 1, degrees - 1, len(channels_out) - 1, reflections=False)
    summed = tuple(sum(channels_in[l1] for l1, _, l3 in paths if l3 == l) for l in range(len(channels_out)))
    mixed = (sum(channels_out), *channels_out[1:])
    maps = {
        "before": (_matrices(state[f"{index}_self_interaction_1.linear.weight"], channels_in, channels_in), gain),
        "after": (_matrices(state[f"{index}_self_interaction_2.linear.weight"], summed, mixed), 1.0),
        "skip": (_matrices(state[f"{index}_self_connection_intro.linear.weight"], channels_in, mixed), gain),
    }
    found = {
        f"{place}.{name}.weights.{l}": factor * matrix
        for name, (matrices, factor) in maps.items()
        for l, matrix in enumerate(matrices)
    }
    found[f"{place}.divisor"] = state[f"{index}_convolution.denominator"].reshape(())
    layers = [name for name in state if name.startswith(f"{index}_convolution.weight_nn.layer")]
    for number, name in enumerate(sorted(layers)):
        weight = state[name] / math.sqrt(state[name].shape[0])
        weight = weight * (_gain() if number else math.sqrt(2.0 / cutoff))  # √(2/r_c) more in SevenNet's basis
        if number == len(layers) - 1:
            weight = weight[:, _columns(paths, channels_in)]
        found[f"{place}.convolution.radial.{2 * number}.weight"] = weight.T.contiguous()
    return found


def _columns(paths: Sequence[tuple[int, int, int]], channels: Sequence[int]) -> Tensor:
    """Where each of our radial functions stands in SevenNet, whose paths are ordered by the degree that comes out."""
    start, place = 0, {}
    for path in sorted(paths, key=lambda path: (path[2], path[0], path[1])):
        place[path] = torch.arange(start, start + channels[path[0]])
        start += channels[path[0]]
    return torch.cat([place[path] for path in paths])


def _matrices(flat: Tensor, channels_in: Sequence[int], channels_out: Sequence[int]) -> list[Tensor]:
    """One matrix for each degree out of the flat weights of e3nn's ``Linear``, with its path weights, (C_l, C'_l)."""
    sizes = list(zip(channels_in, channels_out, strict=False))
    blocks = flat.split([c_in * c_out for c_in, c_out in sizes])
    return [block.reshape(c_in, c_out) / math.sqrt(c_in) for block, (c_in, c_out) in zip(blocks, sizes, strict=True)]


def _gain() -> float:
    """What e3nn multiplies SiLU with, from its own sample of the normal distribution."""
    from e3nn.math import normalize2mom

    return float(normalize2mom(silu).cst)


def _shifts(state: Mapping[str, Tensor], species: Sequence[int]) -> dict[int, float]:
    shifts = state["rescale_atomic_energy.shift"].double().expand(len(species)).tolist()
    return {number: shift for number, shift in zip(species, shifts, strict=True)}


def _scale(state: Mapping[str, Tensor]) -> float:
    values = set(state["rescale_atomic_energy.scale"].double().tolist())
    if len(values) != 1:
        raise ModelFileError("This SevenNet model can't be imported: its energy scale differs between elements.")
    return values.pop()
