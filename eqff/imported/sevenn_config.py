"""SevenNet's settings in eqff's words, and which of them eqff's parts have no counterpart for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eqff.errors import ModelFileError

_ABSENT = {
    "use_modality": (False, "several levels of theory in one model"),
    "use_bias_in_linear": (False, "biases"),
    "readout_as_fcn": (False, "a nonlinear readout"),
    "interaction_type": ("nequip", "another kind of interaction"),
    "act_radial": ("silu", "another activation"),
    "self_connection_type": ("linear", "self-connections for each element"),
    "is_parity": (False, "features of both parities"),
    "lmax_edge": (-1, "harmonics of another degree than the features"),
    "lmax_node": (-1, "features of another degree than the harmonics"),
    "_normalize_sph": (True, "harmonics that are not normalised"),
}
"""Settings of SevenNet that have one value in the models that fit, and what other values mean."""

_NEEDED = (
    "_type_map",
    "act_gate",
    "act_scalar",
    "cutoff",
    "cutoff_function",
    "radial_basis",
    "weight_nn_hidden_neurons",
)
"""Settings that every SevenNet model has, with its defaults filled in."""


def require_supported(config: Mapping[str, Any]) -> None:
    """Checks a checkpoint's settings before its weights are looked at.

    Raises:
        ModelFileError: It is no SevenNet model, or has what eqff's parts have not.
    """
    missing = [key for key in _NEEDED if key not in config]
    if missing:
        raise ModelFileError(
            f"This is no SevenNet model, or only a part of one: its settings lack {', '.join(missing)}. Give the "
            "checkpoint that SevenNet's training has written."
        )
    for key, (wanted, what) in _ABSENT.items():
        if config.get(key, wanted) != wanted:
            raise ModelFileError(
                f"This SevenNet model can't be imported: {key}={config[key]!r} ({what}); only {key}={wanted!r} can. "
                "SevenNet-0 and SevenNet-l3i5 are of the kind that can."
            )
    activations = {config["act_scalar"]["e"], config["act_gate"]["e"]}
    if activations != {"silu"} or not config.get("irreps_manual"):
        raise ModelFileError("This SevenNet model can't be imported: only SiLU and irreps_manual are understood.")


def channels_of_passes(irreps: Sequence[str]) -> list[tuple[int, ...]]:
    """C_l, l = 0, 1, ..., before the first pass and after each."""
    from e3nn.o3 import Irreps

    found = []
    for text in irreps:
        entries = list(Irreps(str(text)))
        if [ir.l for _, ir in entries] != list(range(len(entries))):
            raise ModelFileError(f"This SevenNet model can't be imported: its features '{text}' leave degrees out.")
        found.append(tuple(mul for mul, _ in entries))
    return found


def model_config_of(config: Mapping[str, Any], irreps: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """The ``model`` group that describes the same function."""
    channels, *higher = irreps[1]
    if any(other != irreps[1] for other in irreps[1:-1]) or irreps[0] != (channels,) or irreps[-1] != (channels,):
        raise ModelFileError("This SevenNet model can't be imported: its passes have different numbers of channels.")
    cutoff_function = dict(config["cutoff_function"])
    known = {"XPLOR": "xplor", "poly_cut": "polynomial"}
    envelope = known.get(cutoff_function["cutoff_function_name"])
    if envelope is None or (envelope == "polynomial" and cutoff_function.get("poly_cut_p_value", 6) != 6):
        raise ModelFileError(f"This SevenNet model can't be imported: its cutoff function is {cutoff_function}.")
    backbone = {
        "_target_": "eqff.backbones.nequip.NequIP",
        "channels": channels,
        "higher_channels": list(higher),
        "num_passes": len(irreps) - 1,
        "cutoff": float(config["cutoff"]),
        "radial_size": int(config["radial_basis"]["bessel_basis_num"]),
        "radial_hidden": [int(width) for width in config["weight_nn_hidden_neurons"]],
        "envelope": envelope,
        "reflections": False,
        "charge_and_spin": False,
    }
    if envelope == "xplor":
        backbone["xplor_onset"] = float(cutoff_function["cutoff_on"])
    return {"backbone": backbone, "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 0}}}
