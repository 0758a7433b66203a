"""Label structures with energies, forces, dipoles, atomic charges and atomic spin populations.

    python tools/make_labels.py structures.extxyz.gz labelled.extxyz.gz --method gfn2 --workers 4
    python tools/make_labels.py structures.extxyz labelled.extxyz --method pyscf --xc pbe0 --basis def2-svp
    python tools/make_labels.py structures.extxyz labelled.extxyz --method ase --calculator ase.calculators.emt:EMT

Every frame needs its total charge and multiplicity (2S+1): info keys ``total_charge`` and ``multiplicity``,
or ``--total-charge`` and ``--multiplicity`` for frames that have none. Nothing is guessed. External
point charges that frames state (``external_positions`` in Å, ``external_charges`` in e) act with ``--method pyscf``;
other methods refuse such frames, and all refuse frames in an ``electric_field``. Labels that frames have from
elsewhere are dropped; everything else, as the array ``fragment``, is kept.

Written keys and units, one convention for all methods:

=================  =====  ======  ==================================================================
key                where  unit    meaning
=================  =====  ======  ==================================================================
``energy``         info   eV      total energy as the method defines it
``dipole``         info   e Å     sum of charge times position about the coordinate origin: moving an
                                  ion of total charge Q by d changes it by Q d
``total_charge``   info   e       integer
``multiplicity``   info   1       2S+1, integer
``method``         info           level of theory
``forces``         atoms  eV/Å
``charges``        atoms  e       atomic partial charges, summing to ``total_charge``
``spin_charges``   atoms  e       α minus β electrons on the atom, summing to ``multiplicity`` - 1
``wannier_displacements``
                   atoms  Å       of the centroid of the atom's localised orbitals; only with
                                  ``--method pyscf --option wannier=O`` (or ``'wannier=["O", "C"]'``)
=================  =====  ======  ==================================================================

Results are appended to a journal beside the output as they come. A run that was stopped continues when the
same command is given again. Output and sidecar (``*.labels.json``: command, settings, versions, seed, failed
frames with reasons) are written at the end, in one step each. Frames that fail are left out of the output.
"""

from __future__ import annotations

import argparse
import concurrent.futures as futures
import datetime
import gzip
import hashlib
import importlib
import importlib.metadata
import io
import json
import multiprocessing
import os
import platform
import re
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, Hartree
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Label = dict[str, Any]

POSITION_DECIMALS = 8  # what extxyz stores; positions are rounded before labelling, so labels belong to them
LABEL_DECIMALS = {
    "energy": 8,
    "dipole": 6,
    "forces": 6,
    "charges": 6,
    "spin_charges": 6,
    "wannier_displacements": 6,
}
LABEL_SHAPES = {
    "energy": (),
    "dipole": (3,),
    "forces": (-1, 3),
    "charges": (-1,),
    "spin_charges": (-1,),
    "wannier_displacements": (-1, 3),
}
CHARGE_SUM_TOLERANCE = 1e-3  # e; a larger difference means the labels are of another state
OPTIONS = {
    "gfn2": {"accuracy": 0.01, "guess": "lowest", "max_iterations": 300, "electronic_temperature": 300.0},
    "pyscf": {
        "xc": "pbe0",
        "basis": "def2-svp",
        "population": "mulliken",
        "grid_level": 3,
        "conv_tol": 1e-9,
        "wannier": None,
    },
    "ase": {},
}
POPULATIONS = ("mulliken", "lowdin", "iao")
EXTERNAL = ("external_positions", "external_charges", "external_widths")
FIELD = ("electric_field", "external_field", "efield")
FRAGMENTS = ("fragment", "fragment_charge")
PREFIXES = ("ref_", "dft_", "qm_", "reference_")  # of keys, which mean the same without
OLD_INFO = {
    *("energy", "free_energy", "total_energy", "stress", "virial", "virials"),
    *("dipole", "dipole_moment", "quadrupole", "polarizability"),
    *("method", "level_of_theory", "theory", "theory_level", "s_squared"),
}
OLD_ARRAYS = {
    *("forces", "force", "energies", "stresses", "magmoms", "initial_magmoms", "initial_charges"),
    *("charges", "partial_charges", "atomic_charges", "spin_charges", "spin_populations", "spin_densities"),
    *("volume_ratios", "atomic_dipoles", "atomic_quadrupoles", "induced_dipoles", "atomic_polarizabilities"),
    *("c6_coefficients", "born_charges", "born_effective_charges", "wannier_displacements"),
}
GFN2_GUESSES = {"sad": (0,), "eeq": (1,), "lowest": (0, 1)}


class LabelError(ValueError):
    """A structure or a result that cannot be used, with the reason."""


@dataclass(frozen=True)
class Settings:
    """What determines a label, next to the structure itself.

    ``method`` is ``gfn2``, ``pyscf`` or ``ase``; ``options`` are the method's own (``OPTIONS``), or the keyword
    arguments of the ASE ``calculator`` ("module:Class"). ``charge_option`` and ``multiplicity_option`` name the
    keyword arguments through which that class takes the state of a frame.
    """

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    calculator: str | None = None
    charge_option: str | None = None
    multiplicity_option: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in OPTIONS:
            raise LabelError(f"unknown method {self.method!r}: use one of {', '.join(OPTIONS)}")
        if (self.method == "ase") != (self.calculator is not None):
            raise LabelError("--method ase and --calculator module:Class belong together")
        if self.method != "ase":
            unknown = sorted(set(self.options) - set(OPTIONS[self.method]))
            if unknown:
                known = ", ".join(OPTIONS[self.method])
                raise LabelError(f"unknown option {unknown[0]!r} of {self.method}: known are {known}")
            object.__setattr__(self, "options", {**OPTIONS[self.method], **self.options})

    def as_json(self) -> str:
        """Return the settings as one canonical line of JSON."""
        return json.dumps(vars(self), sort_keys=True)


# ---------------------------------------------------------------------------------------------- structures


def read_frames(path: Path) -> list[Atoms]:
    """Read all frames of any file ASE knows; gzipped extxyz goes through memory, which is far faster."""
    if not path.exists():
        raise LabelError(f"{path}: no such file")
    if path.name.endswith((".extxyz.gz", ".xyz.gz")):
        with gzip.open(path, "rt") as file:
            return list(ase.io.iread(io.StringIO(file.read()), index=":", format="extxyz"))
    return list(ase.io.iread(path, index=":"))


def write_frames(path: Path, frames: list[Atoms]) -> None:
    """Write extxyz, gzipped if ``path`` ends in .gz, in one step: the old file stays until the new one is whole.

    ASE names the column of the charges "charge"; here it has the plain key, which ASE reads as well.
    """
    buffer = io.StringIO()
    ase.io.write(buffer, frames, format="extxyz")
    data = re.sub(r"^(Properties=\S*:)charge:R:1", r"\1charges:R:1", buffer.getvalue(), flags=re.MULTILINE).encode()
    replace_file(path, gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` so that a reader sees the old content or the new, never a part."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, path)


def prepare(frames: Iterable[Atoms], charge: int | None = None, multiplicity: int | None = None) -> list[Atoms]:
    """Return clean frames: rounded positions, labels of other methods dropped, charge and multiplicity checked.

    ``charge`` (e) and ``multiplicity`` (2S+1) are for frames that carry none. The first frame without a state,
    with an impossible one, or with numbers that are not finite raises :class:`LabelError`.
    """
    prepared = []
    for index, atoms in enumerate(frames):
        info = {_own_key(k): v for k, v in atoms.info.items() if plain(k) not in OLD_INFO}
        positions = np.round(atoms.positions, POSITION_DECIMALS) + 0.0
        if len(atoms) == 0 or not np.isfinite(positions).all():
            raise LabelError(f"frame {index}: no atoms, or positions that are not finite: remove it")
        state = (_integer(info, "total_charge", charge, index), _integer(info, "multiplicity", multiplicity, index))
        check_state(atoms.numbers, *state, where=f"frame {index} ({atoms.get_chemical_formula()})")
        info.update(total_charge=state[0], multiplicity=state[1])
        clean = Atoms(atoms.numbers, positions, cell=atoms.cell, pbc=atoms.pbc, info=info)
        for key, values in atoms.arrays.items():
            if plain(key) not in {"numbers", "positions"} | OLD_ARRAYS:
                clean.set_array(_own_key(key), values)
        prepared.append(clean)
    if not prepared:
        raise LabelError("no frames in the input")
    return prepared


def plain(key: str) -> str:
    """Return what a key says, whatever its case and prefix."""
    word = str(key).lower()
    for prefix in PREFIXES:
        word = word.removeprefix(prefix)
    return word


def _own_key(key: str) -> str:
    """Return the name that this file knows a key by, or the key itself."""
    word = "electric_field" if plain(key) in FIELD else plain(key)
    return word if word in (*EXTERNAL, *FIELD, *FRAGMENTS) else key


def _integer(info: dict[str, Any], key: str, default: int | None, index: int) -> int:
    value = info.get(key, default)
    if value is None:
        flag = "--" + key.replace("_", "-")
        raise LabelError(f"frame {index}: no info key {key!r}: write it to the file, or give {flag} for such frames")
    if float(value) != int(value):
        raise LabelError(f"frame {index}: {key} is {value!r}, not an integer")
    return int(value)


def check_state(numbers: np.ndarray, charge: int, multiplicity: int, where: str) -> None:
    """Raise unless ``multiplicity`` fits the number of electrons left at total ``charge`` (e)."""
    electrons = int(np.sum(numbers)) - charge
    if electrons < 1:
        raise LabelError(f"{where}: total_charge {charge:+d} leaves {electrons} electrons")
    if multiplicity < 1 or multiplicity - 1 > electrons or (electrons - multiplicity + 1) % 2:
        parity = "odd" if electrons % 2 == 0 else "even"
        raise LabelError(
            f"{where}: multiplicity {multiplicity} is impossible for {electrons} electrons "
            f"(total_charge {charge:+d}): it must be {parity} and at most {electrons + 1}"
        )


def frame_key(atoms: Atoms, settings: Settings) -> str:
    """Return a hash of everything that determines the label of a prepared frame."""
    digest = hashlib.sha256(settings.as_json().encode())
    for array in (atoms.numbers.astype("<i8"), atoms.positions.astype("<f8"), np.asarray(atoms.cell, "<f8"), atoms.pbc):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(f"{atoms.info['total_charge']} {atoms.info['multiplicity']}".encode())
    for name in EXTERNAL:
        if name in atoms.info:
            digest.update(name.encode() + np.ascontiguousarray(atoms.info[name], "<f8").tobytes())
    for name in sorted(atoms.arrays.keys() - {"numbers", "positions", "masses", "momenta"}):
        digest.update(name.encode() + np.ascontiguousarray(atoms.arrays[name]).tobytes())
    return digest.hexdigest()[:24]


# ---------------------------------------------------------------------------------------------- methods


def spin_excess(density: np.ndarray, overlap: np.ndarray, atom_of: np.ndarray) -> np.ndarray:
    """Return Mulliken α minus β electrons per atom (e) from the (2, n, n) density matrices."""
    per_orbital = np.einsum("ij,ji->i", density[0] - density[1], overlap)
    return np.bincount(atom_of, weights=per_orbital, minlength=atom_of.max() + 1)


def label_gfn2(atoms: Atoms, options: dict[str, Any]) -> Label:
    """Label with GFN2-xTB: restricted for singlets, spin-polarized (spGFN2-xTB) for open shells.

    ``guess=lowest`` runs the SCF from two starting charges (superposed atoms; electronegativity equilibration) and
    keeps the lower energy, which makes jumps between electronic states rarer. Spin populations are Mulliken's, from
    the two density matrices. Sources: doi 10.1021/acs.jctc.8b01176 (GFN2-xTB), 10.1002/jcc.27185 (spin terms).
    """
    from tblite.exceptions import TBLiteRuntimeError

    if options["guess"] not in GFN2_GUESSES:
        raise LabelError(f"unknown guess {options['guess']!r}: use one of {list(GFN2_GUESSES)}")
    found, problems = [], []
    for guess in GFN2_GUESSES[options["guess"]]:
        try:
            found.append(_gfn2_once(atoms, guess, options))
        except TBLiteRuntimeError as error:
            problems.append(str(error))
    if not found:
        raise LabelError("; ".join(dict.fromkeys(problems)))
    return min(found, key=lambda label: label["energy"])


def _gfn2_once(atoms: Atoms, guess: int, options: dict[str, Any]) -> Label:
    from tblite.interface import Calculator

    unpaired = atoms.info["multiplicity"] - 1
    cell = {"lattice": atoms.cell.array / Bohr, "periodic": atoms.pbc} if atoms.pbc.any() else {}
    state = {"charge": atoms.info["total_charge"], "uhf": unpaired}
    calc = Calculator("GFN2-xTB", atoms.numbers, atoms.positions / Bohr, **state, **cell)
    calc.set("verbosity", 0)
    calc.set("accuracy", options["accuracy"])
    calc.set("guess", guess)
    calc.set("max-iter", options["max_iterations"])
    calc.set("temperature", options["electronic_temperature"] * 3.166808578545117e-6)  # K to Hartree
    if unpaired:
        calc.set("save-integrals", 1)
        calc.add("spin-polarization", 1.0)
    result = calc.singlepoint()
    spins = np.zeros(len(atoms))
    if unpaired:
        atom_of = np.asarray(calc.get("shell-map"))[np.asarray(calc.get("orbital-map"))]
        spins = spin_excess(result.get("density-matrix"), result.get("overlap-matrix"), atom_of)
    return {
        "method": "spGFN2-xTB",
        "energy": result.get("energy") * Hartree,
        "forces": -result.get("gradient") * Hartree / Bohr,
        "dipole": result.get("dipole") * Bohr,
        "charges": result.get("charges"),
        "spin_charges": spins,
    }


def label_pyscf(atoms: Atoms, options: dict[str, Any]) -> Label:
    """Label with Kohn-Sham theory from PySCF: restricted for singlets, unrestricted for open shells.

    ``population`` names the scheme of charges and spins (:func:`populations`). An SCF that does not converge is
    repeated with the second-order solver from where it stopped. ``s_squared`` is the expectation value of S². External
    point charges that a frame states act on it.
    """
    from pyscf import dft, gto

    if atoms.pbc.any():
        raise LabelError("periodic structures are not supported by the pyscf method")
    spin = atoms.info["multiplicity"] - 1
    geometry = [(symbol, xyz) for symbol, xyz in zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)]
    state = {"charge": atoms.info["total_charge"], "spin": spin}
    molecule = gto.M(atom=geometry, unit="Angstrom", basis=options["basis"], verbose=0, **state)
    scf = (dft.UKS if spin else dft.RKS)(molecule)
    scf.xc, scf.conv_tol, scf.grids.level = options["xc"], options["conv_tol"], options["grid_level"]
    scf = among_external_charges(scf, atoms.info)
    scf.kernel()
    if not scf.converged:
        scf = scf.newton()
        scf.kernel(scf.mo_coeff, scf.mo_occ)
    if not scf.converged:
        raise LabelError(f"SCF not converged, by the second-order solver either (last: {scf.e_tot:.6f} Hartree)")
    charges, spins = populations(scf, options["population"])
    centroids = {} if options["wannier"] is None else {"wannier_displacements": centroids_of(scf, options["wannier"])}
    return centroids | {
        "method": f"{options['xc']}/{options['basis']}",
        "energy": scf.e_tot * Hartree,
        "forces": -scf.nuc_grad_method().kernel() * Hartree / Bohr,
        "dipole": scf.dip_moment(unit="AU", verbose=0) * Bohr,
        "charges": charges,
        "spin_charges": spins,
        "s_squared": float(scf.spin_square()[0]) if spin else 0.0,
    }


def among_external_charges(scf: Any, info: dict[str, Any]) -> Any:
    """Return the calculation among the point charges that a frame states, whose energy with each other is left out."""
    if not any(name in info for name in EXTERNAL):
        return scf
    from pyscf import qmmm

    if np.any(info.get("external_widths", 0.0)):
        raise LabelError("external_widths are not supported by the pyscf method: leave them out for points")
    positions = np.reshape(info["external_positions"], (-1, 3))
    return qmmm.mm_charge(scf, positions, np.ravel(info["external_charges"]), unit="Angstrom")


def populations(scf: Any, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Return atomic charges (e) and α excess (e) of a converged PySCF calculation.

    ``mulliken`` and ``lowdin`` divide the density in the basis itself and are of little use with diffuse functions;
    ``iao`` divides it in intrinsic atomic orbitals, nearly independent of the basis (doi 10.1021/ct400687b).
    """
    if scheme not in POPULATIONS:
        raise LabelError(f"unknown population {scheme!r}: use one of {', '.join(POPULATIONS)}")
    molecule, overlap = scf.mol, scf.get_ovlp()
    restricted = np.ndim(scf.mo_occ) == 1
    coefficients = [scf.mo_coeff] * 2 if restricted else scf.mo_coeff
    occupations = [scf.mo_occ / 2] * 2 if restricted else scf.mo_occ
    channels = []
    for c, occupation in zip(coefficients, occupations, strict=True):
        occupied = c[:, occupation > 0]
        channels.append(_electrons_per_atom(molecule, occupied, overlap, scheme))
    return molecule.atom_charges() - channels[0] - channels[1], channels[0] - channels[1]


def _electrons_per_atom(molecule: Any, occupied: np.ndarray, overlap: np.ndarray, scheme: str) -> np.ndarray:
    """Return the electrons of one spin on each atom from the (n, k) orbitals, each holding one electron."""
    from pyscf import lo

    basis = molecule
    if occupied.shape[1] == 0:
        return np.zeros(molecule.natm)
    if scheme == "iao":
        orbitals = lo.vec_lowdin(lo.iao.iao(molecule, occupied), overlap)
        basis = lo.iao.reference_mol(molecule)
        parts = (orbitals.T @ overlap @ occupied) ** 2
    elif scheme == "lowdin":
        values, vectors = np.linalg.eigh(overlap)
        parts = ((vectors * np.sqrt(values)) @ vectors.T @ occupied) ** 2
    else:
        parts = occupied * (overlap @ occupied)
    atom_of = [label[0] for label in basis.ao_labels(fmt=None)]
    return np.bincount(atom_of, weights=parts.sum(1), minlength=molecule.natm)


def centroids_of(scf: Any, holders: str | list[str]) -> np.ndarray:
    """Return where the electrons of each atom are on average, (N, 3) in Å from the atom; zero without any.

    Orbitals are localised as Foster and Boys do, the molecular counterpart of maximally localised Wannier functions
    (doi 10.1103/RevModPhys.32.300), and each belongs to the nearest atom of an element of ``holders``. Displacements of
    core orbitals count as if they were the valence electrons': so ions of nuclei and cores, and centroids of the
    valence electrons, have the dipole of the calculation exactly.
    """
    from pyscf import lo
    from pyscf.data.elements import chemcore_atm

    molecule = scf.mol
    if molecule.spin:
        raise LabelError("centroids are made of closed shells only")
    numbers, places = molecule.atom_charges(), molecule.atom_coords()
    wanted = [holders] if isinstance(holders, str) else holders
    own = np.array([molecule.atom_pure_symbol(i) in wanted for i in range(molecule.natm)])
    if not own.any():
        raise LabelError(f"no atom of {', '.join(wanted)} to hold electrons")
    orbitals = lo.Boys(molecule, scf.mo_coeff[:, scf.mo_occ > 0]).kernel()
    centres = np.einsum("xij,ip,jp->px", molecule.intor("int1e_r"), orbitals, orbitals)
    distances = np.linalg.norm(centres[:, None] - places[own], axis=2)
    owners = np.flatnonzero(own)[distances.argmin(axis=1)]
    moved = np.zeros((molecule.natm, 3))
    np.add.at(moved, owners, centres - places[owners])
    pairs = np.bincount(owners, minlength=molecule.natm)
    valence = pairs - np.array([chemcore_atm[number] if held else 0 for number, held in zip(numbers, own, strict=True)])
    for number in set(numbers[own]):
        counts = sorted(set(valence[own & (numbers == number)]))
        if len(counts) > 1 or counts[0] < 1:
            raise LabelError(f"atoms of Z={number} hold {counts} pairs of valence electrons: no one charge fits")
    return moved / np.where(own, valence, 1)[:, None] * Bohr


def label_ase(atoms: Atoms, settings: Settings) -> Label:
    """Label with the ASE calculator of ``settings``, built anew for each frame so that no state carries over."""
    state = atoms.info
    arguments = dict(settings.options)
    for name, value in (
        (settings.charge_option, state["total_charge"]),
        (settings.multiplicity_option, state["multiplicity"]),
    ):
        if name is not None:
            arguments[name] = value
    atoms = atoms.copy()
    atoms.calc = load_class(settings.calculator)(**arguments)
    label = {"method": settings.calculator, "energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    for key, name in (("dipole", "dipole"), ("charges", "charges"), ("spin_charges", "magmoms")):
        try:
            label[key] = atoms.calc.get_property(name, atoms) if name in atoms.calc.implemented_properties else None
        except PropertyNotImplementedError:
            label[key] = None
    return {key: value for key, value in label.items() if value is not None}


def load_class(name: str | None) -> Any:
    """Import "module:Class"."""
    module, _, attribute = (name or "").partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise LabelError(f"cannot load calculator {name!r} ({error}): give it as module:Class") from error


def compute_label(atoms: Atoms, settings: Settings) -> Label:
    """Label one prepared frame and check the result; raise :class:`LabelError` if it cannot be used."""
    np.random.seed(int(frame_key(atoms, settings)[:8], 16) ^ settings.seed)  # for calculators that draw numbers
    if settings.method != "pyscf" and any(name in atoms.info for name in EXTERNAL):
        raise LabelError(f"the method {settings.method} knows no external charges, which this frame states: use pyscf")
    if np.any(atoms.info.get("electric_field", 0.0)):
        raise LabelError("no method here knows an electric field, which this frame states: use another program")
    if settings.method == "ase":
        label = label_ase(atoms, settings)
    else:
        label = (label_gfn2 if settings.method == "gfn2" else label_pyscf)(atoms, settings.options)
    for key, shape in LABEL_SHAPES.items():
        if key in label:
            value = np.asarray(label[key], dtype=float)
            expected = tuple(len(atoms) if n == -1 else n for n in shape)
            if value.shape != expected or not np.isfinite(value).all():
                raise LabelError(f"{key} has shape {value.shape} (expected {expected}) or is not finite")
            label[key] = value.tolist()
    for key, total in (("charges", atoms.info["total_charge"]), ("spin_charges", atoms.info["multiplicity"] - 1)):
        if key in label and abs(sum(label[key]) - total) > CHARGE_SUM_TOLERANCE:
            raise LabelError(f"{key} sum to {sum(label[key]):.4f}, not to {total}: the method computed another state")
    return label


def check_dipole_origin(frames: list[Atoms], settings: Settings, shift: float = 1.0) -> None:
    """Raise if the dipole of an ASE calculator is not taken about the coordinate origin (a charged frame is moved).

    Moving an ion of charge Q by ``shift`` (Å) along x must change its dipole by Q ``shift``.
    """
    for ion in (atoms for atoms in frames if atoms.info["total_charge"] and settings.method == "ase"):
        moved = ion.copy()
        moved.positions[:, 0] += shift
        one, other = (_work(atoms, settings) for atoms in (ion, moved))
        if "error" in one or "error" in other:
            continue  # told where frames are labelled
        if "dipole" not in one:
            return
        change = other["dipole"][0] - one["dipole"][0]
        if abs(change - ion.info["total_charge"] * shift) > 1e-3:
            raise LabelError(
                f"the dipole of {settings.calculator} changes by {change:.4f} e Å when an ion of charge "
                f"{ion.info['total_charge']:+d} moves by {shift} Å: it is not about the coordinate origin; wrap the "
                "calculator in a class that corrects or drops it"
            )
        return


# ---------------------------------------------------------------------------------------------- running


class Journal:
    """Append-only record of results, one JSON object per line, keyed by :func:`frame_key`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, Label] = {}
        if path.exists():
            whole = path.read_bytes().rpartition(b"\n")[0]  # a line cut short by a kill has no newline
            self.results = {entry["key"]: entry["result"] for entry in map(json.loads, whole.splitlines())}
            os.truncate(path, len(whole) + 1 if whole else 0)

    def append(self, key: str, result: Label) -> None:
        """Write one result through to the file."""
        self.results[key] = result
        with self.path.open("a") as file:
            file.write(json.dumps({"key": key, "result": result}) + "\n")


def _work(atoms: Atoms, settings: Settings) -> Label:
    """Label one frame in a worker; any failure becomes a result with the key ``error``."""
    try:
        return compute_label(atoms, settings)
    except Exception as error:  # noqa: BLE001 - calculators raise anything; it is recorded, counted and reported
        place = "" if isinstance(error, LabelError) else f" at {traceback.extract_tb(error.__traceback__)[-1].name}"
        return {"error": f"{type(error).__name__}{place}: {error}"}


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; frames in progress are finished and kept
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # the parent was killed: there is nobody left to report to

    threading.Thread(target=follow, daemon=True).start()


def worker_pool(workers: int) -> futures.ProcessPoolExecutor:
    """Return a pool of fresh processes of one thread each, which end with this process however it ends."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # read by the workers when they start
    context = multiprocessing.get_context("spawn")
    return futures.ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


def compute_all(todo: dict[str, Atoms], settings: Settings, workers: int) -> Iterator[tuple[str, Label]]:
    """Yield (key, result) in the order of completion; ``workers=0`` computes in this process."""
    if workers == 0:
        yield from ((key, _work(atoms, settings)) for key, atoms in todo.items())
        return
    pool = worker_pool(workers)
    try:
        names = {pool.submit(_work, atoms, settings): key for key, atoms in todo.items()}
        for done in futures.as_completed(names):
            yield names[done], done.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def fill_journal(journal: Journal, todo: dict[str, Atoms], settings: Settings, workers: int, console: Console) -> None:
    """Label the frames in ``todo`` and append each result to the journal, with a progress bar."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=console) as progress:
        task = progress.add_task("labelling", total=len(todo))
        failed = 0
        for key, result in compute_all(todo, settings, workers):
            journal.append(key, result)
            failed += "error" in result
            progress.update(task, advance=1, description=f"labelling ({failed} failed)" if failed else "labelling")


def attach(atoms: Atoms, label: Label) -> Atoms:
    """Return a copy of the frame that carries the rounded label and is written by ASE under the plain keys."""
    atoms = atoms.copy()
    rounded: dict[str, Any] = {key: np.round(label[key], n) + 0.0 for key, n in LABEL_DECIMALS.items() if key in label}
    for key in ("spin_charges", "wannier_displacements"):
        if key in rounded:
            atoms.arrays[key] = rounded.pop(key)
    atoms.info["method"] = label["method"]
    if "s_squared" in label:
        atoms.info["s_squared"] = round(label["s_squared"], 4)
    rounded["energy"] = float(rounded["energy"])
    atoms.calc = SinglePointCalculator(atoms, **rounded)
    return atoms


def command_line() -> str:
    """Return the command of this process, with absolute paths made relative."""
    return shlex.join(["python", *[os.path.relpath(a) if os.path.isabs(a) else a for a in sys.argv]])


def provenance(settings: Settings) -> dict[str, Any]:
    """Return what a reader needs to repeat the run: command, settings, date and versions."""
    own = {"gfn2": "tblite", "pyscf": "pyscf"}
    package = own.get(settings.method) or re.split("[.:]", str(settings.calculator))[0]
    versions = {"python": platform.python_version()}
    for name in dict.fromkeys(["ase", "numpy", package]):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not an installed package"
    return {
        "command": command_line(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "settings": vars(settings),
        "versions": versions,
    }


def companion(output: Path, ending: str) -> Path:
    """Return the path of a file beside ``output``: a.extxyz.gz and ".labels.json" give a.labels.json."""
    return output.with_name(output.name.removesuffix(".gz").rpartition(".")[0] + ending)


def label_frames(
    frames: list[Atoms], output: Path, settings: Settings, workers: int = 1, console: Console | None = None
) -> dict[str, Any]:
    """Label prepared ``frames`` (see :func:`prepare`) to ``output`` and return the content of the sidecar.

    Continues from the journal of an interrupted run. Does nothing if output and sidecar are there already for exactly
    these frames and settings.
    """
    console = console or Console(stderr=True)
    sidecar = companion(output, ".labels.json")
    keys = [frame_key(atoms, settings) for atoms in frames]
    job = hashlib.sha256("".join(keys).encode()).hexdigest()[:24]
    if output.exists() and sidecar.exists():
        old = json.loads(sidecar.read_text())
        if old.get("job") == job:
            console.print(f"{output}: complete already (delete it or {sidecar.name} to compute again)")
            return old
    check_dipole_origin(frames, settings)
    journal = Journal(companion(output, ".journal.jsonl"))
    todo = {key: atoms for key, atoms in zip(keys, frames, strict=True) if key not in journal.results}
    if len(todo) < len(set(keys)):
        console.print(f"{len(set(keys)) - len(todo)} of {len(set(keys))} frames found in {journal.path}")
    fill_journal(journal, todo, settings, workers, console)
    labels = [journal.results[key] for key in keys]
    kept = [attach(atoms, label) for atoms, label in zip(frames, labels, strict=True) if "error" not in label]
    failed = [
        {"frame": i, "group": str(frames[i].info.get("group", frames[i].symbols)), "reason": label["error"]}
        for i, label in enumerate(labels)
        if "error" in label
    ]
    if kept:
        write_frames(output, kept)
    else:
        output.unlink(missing_ok=True)  # labels of other frames or settings
    report = {"job": job, "input": len(frames), "written": len(kept), "failed": failed, **provenance(settings)}
    replace_file(sidecar, (json.dumps(report, indent=1) + "\n").encode())
    journal.path.unlink(missing_ok=True)
    return report


# ---------------------------------------------------------------------------------------------- command line


def parse_option(text: str) -> tuple[str, Any]:
    """Split key=value; the value is JSON if it can be read as such, else text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not key=value")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def parser() -> argparse.ArgumentParser:
    """Return the command line parser."""
    layout = argparse.RawDescriptionHelpFormatter
    options = "\n".join(f"  --method {name}: {values}" for name, values in OPTIONS.items() if values)
    p = argparse.ArgumentParser(description=__doc__, formatter_class=layout, epilog="options and defaults\n" + options)
    p.add_argument("input", type=Path, help="structures: any file ASE reads")
    p.add_argument("output", type=Path, help="labelled structures: .extxyz or .extxyz.gz")
    p.add_argument("--method", choices=list(OPTIONS), required=True, help="level of theory")
    p.add_argument("--option", type=parse_option, action="append", default=[], metavar="KEY=VALUE",
                   help="option of the method or argument of the calculator; may be repeated")  # fmt: skip
    p.add_argument("--xc", help="short for --option xc=... (pyscf)")
    p.add_argument("--basis", help="short for --option basis=... (pyscf)")
    p.add_argument("--calculator", metavar="MODULE:CLASS", help="ASE calculator (with --method ase)")
    p.add_argument("--charge-option", metavar="NAME", help="argument of the calculator that takes the total charge")
    p.add_argument("--multiplicity-option", metavar="NAME", help="argument of the calculator that takes 2S+1")
    p.add_argument("--total-charge", type=int, help="total charge (e) of frames without the info key")
    p.add_argument("--multiplicity", type=int, help="multiplicity 2S+1 of frames without the info key")
    p.add_argument("--workers", type=int, default=1, help="processes of one thread each; 0: this process (default 1)")
    p.add_argument("--seed", type=int, default=0, help="seed for calculators that draw random numbers (default 0)")
    p.add_argument("--strict", action="store_true", help="exit with status 1 if any frame failed")
    return p


def settings_from(args: argparse.Namespace) -> Settings:
    """Build the settings from the parsed command line."""
    options = dict(args.option)
    options.update({name: getattr(args, name) for name in ("xc", "basis") if getattr(args, name) is not None})
    return Settings(args.method, options, args.calculator, args.charge_option, args.multiplicity_option, args.seed)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parser().parse_args(argv)
    console = Console(stderr=True)
    try:
        settings = settings_from(args)
        frames = prepare(read_frames(args.input), args.total_charge, args.multiplicity)
        report = label_frames(frames, args.output, settings, args.workers, console)
    except LabelError as error:
        console.print(f"[red]error:[/] {error}", highlight=False)
        return 2
    except KeyboardInterrupt:
        console.print("[yellow]stopped[/]: give the same command again to continue", highlight=False)
        return 130
    failed = report["failed"]
    console.print(f"{args.output}: {report['written']} of {report['input']} frames written")
    if failed:
        console.print(f"[bold red]{len(failed)} FRAMES FAILED and were left out[/], listed with reasons in "
                      f"{companion(args.output, '.labels.json')}; first: {failed[0]}", highlight=False)  # fmt: skip
    return 1 if failed and args.strict else 0


if __name__ == "__main__":
    sys.exit(main())
