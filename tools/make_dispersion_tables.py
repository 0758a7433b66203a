"""Makes eqff/dispersion/tables/ from the tables of the tad packages (Apache-2.0), which eqff does not depend on.

    pip install --no-deps --target FOLDER tad-mctc==0.11.3 tad-dftd3==0.7.0 tad-dftd4==0.8.0 tad-multicharge==0.7.0
    python tools/make_dispersion_tables.py FOLDER

Numbers are taken over unchanged, but for the parameters in `LATER`, and packed: each pair of references once, C6 in
whole 1e-4 hartree·bohr⁶ and pair radii in whole 1e-4 Å, as they were published. The references' polarizabilities of D4
are reduced once and for all by those of what their atoms are bonded to, as the method prescribes.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import tomllib
from pathlib import Path

import numpy as np
import torch

OUTPUT = Path(__file__).parents[1] / "eqff" / "dispersion" / "tables"
HIGHEST = 103
CHARGE_HEIGHT, CHARGE_STEEPNESS = 3.0, 2.0  # of D4's charge scaling
METHODS = {"d3_bj": ("d3", "bj"), "d3_zero": ("d3", "zero"), "d4": ("d4", "bj-eeq-atm")}
NAMES = ("s6", "s8", "s9", "a1", "a2", "rs6", "rs8", "alp")
LATER = {
    "d3_zero": {"opbe": {"s8": 2.055}, "cf22d": {"s8": 0.0}},
    "d4": {
        "r2scan-cidh": {"a2": 5.9125},
        "wb97x": {"s8": 0.5093, "a1": 0.0662, "a2": 5.4487, "doi": "10.1002/jcc.26411"},
    },
}
"""Of simple-dftd3 1.7.0 (the values that it computes with) and dftd4 4.3.1, where the tad packages have others."""
RENAMED = {"d4": {"wb97x": "wb97x-2008"}}
"""Kept under the name that dftd4 has given them since."""


def main() -> None:
    """Writes all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the packages were installed")
    folder = parser.parse_args().folder
    sys.path.insert(0, str(folder))
    np.savez_compressed(OUTPUT / "elements.npz", **elements(folder))
    np.savez_compressed(OUTPUT / "d3.npz", **d3(folder))
    np.savez_compressed(OUTPUT / "d4.npz", **d4(folder))
    text = json.dumps(functionals(folder), indent=0, sort_keys=True, ensure_ascii=False)
    (OUTPUT / "functionals.json").write_text(text + "\n", encoding="utf-8")


def elements(folder: Path) -> dict[str, np.ndarray]:
    """What every method needs of an element, from Z = 0 (nothing) to the highest one."""
    from tad_mctc.data import COV_D3, PAULING
    from tad_mctc.units.length import AA2AU

    moments = runpy.run_path(str(folder / "tad_dftd3" / "data" / "r4r2.py"))["R4R2"]
    charges = torch.arange(HIGHEST + 1, dtype=torch.float64)
    raw = moments(dtype=torch.float64)[: HIGHEST + 1] ** 2 / (0.5 * charges.sqrt()).clamp(min=1e-300)
    return {
        "covalent_radii": (COV_D3() * 3 / 4 / AA2AU)[: HIGHEST + 1].numpy().round(2),
        "electronegativity": PAULING()[: HIGHEST + 1].numpy(),
        "r4_over_r2": raw.numpy().round(4),
    }


def d3(folder: Path) -> dict[str, np.ndarray]:
    """References of D3: element, coordination number, C6 of every two; and the radii of pairs."""
    from tad_mctc.data import VDW_PAIRWISE
    from tad_mctc.units.length import AA2AU

    load = runpy.run_path(str(folder / "tad_dftd3" / "reference.py"), {"__file__": str(folder / "tad_dftd3" / "x.py")})
    coordination, c6 = load["_load_cn"](), load["_load_c6"]()
    element, place = (coordination >= 0).nonzero(as_tuple=True)
    pairs = c6[element[:, None], element[None, :], place[:, None], place[None, :]]
    upper = torch.triu_indices(len(element), len(element))
    radii = VDW_PAIRWISE()[: HIGHEST + 1, : HIGHEST + 1] / AA2AU
    above = torch.triu_indices(HIGHEST + 1, HIGHEST + 1)
    return {
        "element": element.numpy().astype(np.uint8),
        "coordination": coordination[element, place].numpy(),
        "c6": whole(pairs[upper[0], upper[1]]),
        "pair_radii": whole(radii[above[0], above[1]]),
    }


def whole(values: torch.Tensor) -> np.ndarray:
    """In units of 1e-4, which must be exact."""
    scaled = (values * 1e4).round()
    if not torch.allclose(scaled / 1e4, values, rtol=0, atol=1e-6):
        raise SystemExit("The numbers have more than four decimals: they can't be packed.")
    return scaled.numpy().astype(np.int32)


def d4(folder: Path) -> dict[str, np.ndarray]:
    """References of D4: coordination, charge, number of Gaussians, polarizabilities; hardness, and EEQ's parameters."""
    from tad_mctc.data import GAM, ZEFF

    package = folder / "tad_dftd4"
    reference = runpy.run_path(str(package / "reference" / "d4" / "params.py"))
    charges = runpy.run_path(str(package / "reference" / "d4" / "charge_eeq.py"))
    eeq = runpy.run_path(str(folder / "tad_multicharge" / "param" / "eeq2019.py"))
    partner = reference["refsys"]
    nuclear, hardness = ZEFF()[partner].double(), GAM()[partner] * CHARGE_STEEPNESS
    with_charge = charges["clsh"] + nuclear
    exponent = hardness * (1 - nuclear / with_charge.where(with_charge != 0, 1))
    scaling = torch.exp(CHARGE_HEIGHT * (1 - torch.exp(exponent))).where(with_charge > 0, float(np.exp(CHARGE_HEIGHT)))
    bonded = reference["secscale"][partner] * reference["secalpha"][partner] * scaling[..., None]
    bonded = bonded.where(partner[..., None] > 0, 0.0)
    alpha = reference["refascale"][..., None] * (reference["refalpha"] - reference["refscount"][..., None] * bonded)
    highest = HIGHEST + 1
    return {
        "coordination": reference["refcovcn"][:highest].numpy(),
        "gaussians": reference["refc"][:highest].numpy().astype(np.uint8),
        "charges": charges["clsq"][:highest].numpy(),
        "polarizability": alpha.clamp(min=0)[:highest].numpy(),
        "hardness": GAM()[:highest].numpy(),
        "nuclear_charge": ZEFF()[:highest].numpy().astype(np.uint8),
        "eeq_electronegativity": eeq["chi"].numpy(),
        "eeq_hardness": eeq["eta"].numpy(),
        "eeq_kappa": eeq["kcn"].numpy(),
        "eeq_width": eeq["rad"].numpy(),
    }


def functionals(folder: Path) -> dict[str, dict]:
    """Damping parameters of every functional, with the paper's DOI; and other names of functionals."""
    read = {
        "d3": tomllib.loads((folder / "tad_dftd3" / "param" / "parameters.toml").read_text(encoding="utf-8")),
        "d4": tomllib.loads((folder / "tad_dftd4" / "damping" / "parameters" / "d4.toml").read_text(encoding="utf-8")),
    }
    aliases = tomllib.loads((folder / "tad_dftd3" / "param" / "aliases.toml").read_text(encoding="utf-8"))["alias"]
    result: dict[str, dict] = {"aliases": aliases}
    for method, (group, variant) in METHODS.items():
        common = read[group]["default"]["parameter"][group][variant]
        result[method] = {}
        for name, entry in read[group]["parameter"].items():
            if variant in entry.get(group, {}):
                merged = common | entry[group][variant]
                result[method][name] = {key: merged[key] for key in (*NAMES, "doi") if key in merged}
        for name, other in RENAMED.get(method, {}).items():
            result[method][other] = dict(result[method][name])
        for name, values in LATER.get(method, {}).items():
            result[method][name] |= values
    return result


if __name__ == "__main__":
    main()
