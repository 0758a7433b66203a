"""Make the shipped data set of molecules, ions and pairs in several charge and spin states.

    python tools/make_ions_dataset.py --output eqff/datasets/ions --workers 2

Steps: relax every state of ``structures/ions.py`` with GFN2-xTB and take its normal modes; sample each state by
Langevin dynamics, normal modes, random displacements and stretched bonds; place pairs of distorted fragments at random
orientations from contact to 12 Å; label (``make_labels.py``); leave out and count frames in which the method fails.
All random numbers come from ``--seed``, the name of the state and the split, so the order of work does not matter.
Splits never share a trajectory: each has its own, started from its own seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ase.units
import make_labels as labels
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers, covalent_radii, vdw_radii
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS
from rich.console import Console
from rich.progress import track
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation
from structures import ions as tables

Rng = np.random.Generator

TIMESTEP = 0.5  # fs
STRIDE = 40  # steps between stored frames (20 fs)
FRICTION = 0.02  # 1/fs
POSITION_DECIMALS = 5  # Å; rounded before labelling
MODE_FLOOR = 200.0  # cm⁻¹; softer modes are sampled as if this stiff
CONTACT = (0.65, 1.1)  # closest contact of a pair in units of the sum of the van der Waals radii
TRAIN_REACH = 6.0  # Å, largest closest contact of a training pair
START_MD = 2.0  # Å, closest contact from which dynamics of a pair may start
FAR = (7.0, 12.0)  # Å, closest contacts of the far test
LEAK_BEYOND, LEAK = 4.0, 0.03  # Å, e: charge or spin on the wrong fragment beyond this distance
TAIL_BEYOND, TAIL = 5.0, 0.3  # Å, eV: deviation from charges and dipoles beyond this distance
MAX_ENERGY, MAX_FORCE = 12.0, 20.0  # eV above the lowest of the same group and state, eV/Å


@dataclass(frozen=True)
class Counts:
    """Frames per state (``md`` at two temperatures, ``modes``, ``rattled``) and per pair (``scan``, ``pair_md``)."""

    md: int = 0
    modes: int = 0
    rattled: int = 0
    scan: int = 0
    pair_md: int = 0


SEEN_SPLITS = {
    "train": Counts(md=24, modes=12, rattled=10, scan=26, pair_md=6),
    "val": Counts(md=2, modes=1, rattled=1, scan=2, pair_md=1),
    "test": Counts(md=4, modes=2, rattled=1, scan=3, pair_md=2),
}
UNSEEN_COUNTS = Counts(md=6, modes=3, rattled=1, scan=12, pair_md=2)
FAR_COUNT = 10
DFT_COUNTS = {"train": (3, 6), "val": (1, 1), "test": (1, 2)}  # frames per state, per pair


@dataclass
class Minimum:
    """A relaxed state: geometry, normal modes (n, 3N), and squared frequencies (eV/Å²/amu)."""

    atoms: Atoms
    modes: np.ndarray
    squares: np.ndarray


class Gfn2(Calculator):
    """ASE calculator around :func:`make_labels.label_gfn2` for relaxations and dynamics; state in ``atoms.info``."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:
        """Compute energy (eV) and forces (eV/Å)."""
        super().calculate(atoms, properties, system_changes)
        options = {**labels.OPTIONS["gfn2"], "accuracy": 0.1, "guess": "sad"}
        label = labels.label_gfn2(atoms, options)
        self.results = {"energy": label["energy"], "forces": np.asarray(label["forces"])}


def name_of(fragment: tables.Fragment) -> str:
    """Return a readable name of a state, such as ``H2CO(-1,2)``."""
    return "{}({:+d},{})".format(*fragment)


def rng_for(seed: int, *names: str) -> Rng:
    """Return a generator that depends on ``seed`` and the names only."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


# ---------------------------------------------------------------------------------------------- single molecules


def bonds(atoms: Atoms, factor: float) -> np.ndarray:
    """Return the (N, N) matrix of distances below ``factor`` times the sum of covalent radii."""
    radii = covalent_radii[atoms.numbers]
    near = atoms.get_all_distances() < factor * (radii[:, None] + radii)
    np.fill_diagonal(near, False)
    return near


def is_whole(atoms: Atoms, factor: float) -> bool:
    """Tell whether the atoms form one connected molecule."""
    return connected_components(bonds(atoms, factor))[0] == 1


def find_minimum(fragment: tables.Fragment, seed: int) -> Minimum | str:
    """Relax a state and compute its normal modes; return the reason if that fails."""
    name, charge, multiplicity = fragment
    atoms = {**tables.SEEN, **tables.UNSEEN}[name].build()
    atoms.info.update(total_charge=charge, multiplicity=multiplicity)
    atoms.positions += rng_for(seed, "minimum", name_of(fragment)).normal(0, 0.02, atoms.positions.shape)
    atoms.calc = Gfn2()
    try:
        converged = BFGS(atoms, logfile=None).run(fmax=0.01, steps=300)
        if not converged or not is_whole(atoms, 1.4):
            return f"{name_of(fragment)}: no bound minimum found"
        modes, squares = normal_modes(atoms)
    except labels.LabelError as error:
        return f"{name_of(fragment)}: {error}"
    atoms.calc = None
    return Minimum(atoms, modes, squares)


def normal_modes(atoms: Atoms, step: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Return mass-weighted modes (n, 3N) and squared frequencies (eV/Å²/amu), translations and rotations left out."""
    atoms.positions -= atoms.get_center_of_mass()
    size, start = 3 * len(atoms), atoms.positions.copy()
    hessian = np.zeros((size, size))
    for i in range(size):
        for sign in (1, -1):
            atoms.positions.flat[i] += sign * step
            hessian[i] -= sign * atoms.get_forces().ravel() / (2 * step)
            atoms.positions = start.copy()
    weights = 1 / np.sqrt(np.repeat(atoms.get_masses(), 3))
    squares, modes = np.linalg.eigh((hessian + hessian.T) / 2 * weights * weights[:, None])
    linear = atoms.get_moments_of_inertia().min() < 1e-2
    vibrations = np.argsort(np.abs(squares))[5 if linear else 6 :]
    return modes.T[vibrations], np.abs(squares[vibrations])


def sample_modes(minimum: Minimum, temperature: float, rng: Rng) -> Atoms:
    """Draw a geometry from the harmonic quantum distribution at ``temperature`` (K).

    A mode of angular frequency ω has the variance ħ/(2ω) coth(ħω/2kT) in its mass-weighted coordinate.
    """
    to_energy = ase.units._hbar * 1e10 / np.sqrt(ase.units._e * ase.units._amu)  # sqrt(eV/Å²/amu) to eV
    floor = (MODE_FLOOR * ase.units.invcm / to_energy) ** 2
    squares = np.maximum(minimum.squares, floor)
    quantum = to_energy * np.sqrt(squares)
    variance = quantum / (2 * squares) / np.tanh(quantum / (2 * ase.units.kB * temperature))
    amounts = rng.normal(size=len(squares)) * np.sqrt(variance)
    atoms = minimum.atoms.copy()
    atoms.positions += (amounts @ minimum.modes).reshape(-1, 3) / np.sqrt(atoms.get_masses())[:, None]
    return atoms


def run_md(start: Atoms, count: int, temperature: float, rng: Rng) -> list[Atoms]:
    """Return up to ``count`` frames of Langevin dynamics at ``temperature`` (K); stops when the SCF fails."""
    atoms, frames = start.copy(), []
    atoms.calc = Gfn2()
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    bath: dict[str, Any] = {
        "temperature_K": temperature,
        "friction": FRICTION / ase.units.fs,
        "rng": rng,
        "fixcm": False,
    }
    dynamics = Langevin(atoms, TIMESTEP * ase.units.fs, **bath)
    try:
        for _ in range(count):
            dynamics.run(STRIDE)
            frames.append(Atoms(atoms.numbers, atoms.positions, info=dict(start.info)))
    except labels.LabelError:
        pass  # the frames before it are good; the shortfall shows in the counts
    return frames


def distort(minimum: Minimum, rng: Rng) -> Atoms:
    """Displace all atoms at random (0.02 to 0.1 Å), then scale one bond that is not in a ring by 0.8 to 1.5."""
    atoms = minimum.atoms.copy()
    atoms.positions += rng.normal(0, rng.uniform(0.02, 0.1), atoms.positions.shape)
    if rng.random() < 0.3:
        return atoms
    graph = bonds(minimum.atoms, 1.3)
    i, j = rng.choice(np.argwhere(graph))
    graph[i, j] = graph[j, i] = False
    parts = connected_components(graph)[1]
    if parts[i] != parts[j]:
        atoms.positions[parts == parts[j]] += (rng.uniform(0.8, 1.5) - 1) * (atoms.positions[j] - atoms.positions[i])
    return atoms


def sample_state(fragment: tables.Fragment, minimum: Minimum, split: str, counts: Counts, seed: int) -> list[Atoms]:
    """Return the frames of one state for one split."""
    rng = rng_for(seed, split, name_of(fragment))
    frames = []
    for temperature in (300.0, 600.0):
        start = sample_modes(minimum, temperature, rng)
        if counts.md and len(start) > 1:
            frames += _tag(run_md(start, counts.md // 2, temperature, rng), f"md{temperature:.0f}")
    frames += _tag([sample_modes(minimum, rng.choice([300.0, 600.0]), rng) for _ in range(counts.modes)], "modes")
    frames += _tag([distort(minimum, rng) for _ in range(counts.rattled)], "distorted")
    for atoms in frames:
        atoms.info.update(group=fragment[0])
    return [_finish(atoms) for atoms in frames if is_whole(atoms, 1.9)]


def _tag(frames: list[Atoms], config_type: str) -> list[Atoms]:
    for atoms in frames:
        atoms.info["config_type"] = config_type
    return frames


def _finish(atoms: Atoms) -> Atoms:
    atoms.positions = np.round(atoms.positions, POSITION_DECIMALS)
    return atoms


# ---------------------------------------------------------------------------------------------- pairs


def fragment_geometry(fragment: tables.Fragment, minima: dict[str, Minimum], rng: Rng) -> Atoms:
    """Return a distorted, randomly turned fragment with its center of mass at the origin."""
    if fragment[0] in tables.ATOMS:
        return Atoms(tables.ATOMS[fragment[0]][0], [[0, 0, 0]])
    atoms = sample_modes(minima[name_of(fragment)], 300.0, rng)
    turned = Rotation.random(rng=rng).apply(atoms.positions - atoms.get_center_of_mass())
    return Atoms(atoms.numbers, turned)


def closest(first: Atoms, second: Atoms, relative: bool) -> float:
    """Return the closest contact of two fragments in Å, or relative to the sum of van der Waals radii."""
    distances = np.linalg.norm(first.positions[:, None] - second.positions, axis=-1)
    if relative:
        distances = distances / (vdw_radii[first.numbers][:, None] + vdw_radii[second.numbers])
    return float(distances.min())


def place(first: Atoms, second: Atoms, target: float, relative: bool) -> Atoms:
    """Move ``second`` in along x from far away until the closest contact is ``target``; return the pair."""
    moved, low, high = second.copy(), 0.0, 40.0
    grid = np.arange(high, low, -0.05)
    for x in grid:
        moved.positions = second.positions + [x, 0, 0]
        if closest(first, moved, relative) < target:
            low, high = x, x + 0.05
            break
    for _ in range(20):
        middle = (low + high) / 2
        moved.positions = second.positions + [middle, 0, 0]
        low, high = (middle, high) if closest(first, moved, relative) < target else (low, middle)
    pair = first + moved
    pair.info["pair_distance"] = round(closest(first, moved, False), 4)
    return pair


def make_pair(
    pair: tuple[tables.Fragment, tables.Fragment], minima: dict[str, Minimum], span: tuple[float, float], rng: Rng
) -> Atoms:
    """Place two fragments with their closest contact (Å) in ``span``; a lower end of 0 means half at contact."""
    first, second = (fragment_geometry(fragment, minima, rng) for fragment in pair)
    at_contact = span[0] == 0 and rng.random() < 0.5
    low = max(span[0], 2.5)
    target = rng.uniform(*CONTACT) if at_contact else rng.uniform(low, span[1])
    atoms = place(first, second, target, at_contact)
    (_, charge_a, spin_a), (_, charge_b, spin_b) = pair
    atoms.info.update(
        total_charge=charge_a + charge_b,
        multiplicity=spin_a + spin_b - 1,
        group=f"{pair[0][0]}.{pair[1][0]}",
        config_type="scan",
        fragment_atoms=len(first),
        fragment_charge=charge_a,
        fragment_spin=spin_a - 1,
    )
    return atoms


def pair_dynamics(start: Atoms, count: int, rng: Rng) -> list[Atoms]:
    """Relax a pair for a few steps and run dynamics at 300 K from there."""
    atoms = start.copy()
    atoms.calc = Gfn2()
    try:
        BFGS(atoms, logfile=None).run(fmax=0.2, steps=25)
    except labels.LabelError:
        return []
    atoms.calc = None
    frames = _tag(run_md(atoms, count, 300.0, rng), "pair_md300")
    n = start.info["fragment_atoms"]
    for frame in frames:
        frame.info["pair_distance"] = round(closest(frame[:n], frame[n:], False), 4)
    return frames


def sample_pair(
    pair: tuple[tables.Fragment, tables.Fragment],
    minima: dict[str, Minimum],
    split: str,
    counts: Counts,
    span: tuple[float, float],
    seed: int,
) -> list[Atoms]:
    """Return the frames of one pair for one split: a scan of distances and orientations, and dynamics at contact."""
    rng = rng_for(seed, split, *map(name_of, pair))
    frames = [make_pair(pair, minima, span, rng) for _ in range(counts.scan)]
    if counts.pair_md:
        apart = [atoms for atoms in frames if atoms.info["pair_distance"] > START_MD] or frames
        start = min(apart, key=lambda atoms: atoms.info["pair_distance"])
        frames += pair_dynamics(start, counts.pair_md, rng)
    return [_finish(atoms) for atoms in frames if atoms.info["pair_distance"] <= span[1]]  # ions of like charge part


# ---------------------------------------------------------------------------------------------- checks of labels


def fragments_of(atoms: Atoms) -> list[Atoms]:
    """Split a pair into its fragments, each with its own charge and multiplicity."""
    n, charge, spin = (atoms.info[f"fragment_{key}"] for key in ("atoms", "charge", "spin"))
    first, second = Atoms(atoms.numbers[:n], atoms.positions[:n]), Atoms(atoms.numbers[n:], atoms.positions[n:])
    first.info.update(total_charge=charge, multiplicity=spin + 1)
    rest = atoms.info["multiplicity"] - 1 - spin
    second.info.update(total_charge=atoms.info["total_charge"] - charge, multiplicity=rest + 1)
    return [first, second]


def multipole_energy(parts: list[Atoms], dipoles: list[np.ndarray]) -> float:
    """Return the interaction (eV) of the charges and dipoles (e Å, about the origin) of two distant fragments."""
    charges = [part.info["total_charge"] for part in parts]
    centers = [part.get_center_of_mass() for part in parts]
    first, second = (np.asarray(d) - q * c for d, q, c in zip(dipoles, charges, centers, strict=True))
    vector = centers[1] - centers[0]
    r = np.linalg.norm(vector)
    n = vector / r
    coulomb = ase.units._e / (4 * np.pi * ase.units._eps0) * 1e10  # eV Å / e²
    charge_dipole = (charges[1] * first @ n - charges[0] * second @ n) / r**2
    dipole_dipole = (first @ second - 3 * (first @ n) * (second @ n)) / r**3
    return coulomb * (charges[0] * charges[1] / r + charge_dipole + dipole_dipole)


def tail_deviation(atoms: Atoms, energy: float, settings: labels.Settings) -> float:
    """Return interaction energy minus its charge and dipole part (eV) of a labelled pair."""
    parts = [labels.prepare([part])[0] for part in fragments_of(atoms)]
    single = [labels.compute_label(part, settings) for part in parts]
    interaction = energy - sum(label["energy"] for label in single)
    return interaction - multipole_energy(parts, [np.asarray(label["dipole"]) for label in single])


def leak(atoms: Atoms) -> float:
    """Return the larger of charge (e) and spin (e) found on the wrong fragment of a labelled pair."""
    n = atoms.info["fragment_atoms"]
    charge = atoms.calc.results["charges"][:n].sum() - atoms.info["fragment_charge"]
    spin = atoms.arrays["spin_charges"][:n].sum() - atoms.info["fragment_spin"]
    return float(max(abs(charge), abs(spin)))


def fault(atoms: Atoms, lowest: dict[tuple, float], settings: labels.Settings) -> tuple[str | None, float | None]:
    """Return why a labelled frame is left out, or None, and its :func:`tail_deviation` (eV) where that is looked at."""
    info, results = atoms.info, atoms.calc.results
    if results["energy"] - lowest[state_of(atoms)] > MAX_ENERGY:
        return f"energy more than {MAX_ENERGY} eV above the lowest of its group and state", None
    if np.linalg.norm(results["forces"], axis=1).max() > MAX_FORCE:
        return f"force above {MAX_FORCE} eV/Å", None
    distance = info.get("pair_distance", 0.0)
    if distance > LEAK_BEYOND and leak(atoms) > LEAK:
        return f"charge or spin above {LEAK} e on the wrong fragment beyond {LEAK_BEYOND} Å", None
    if distance < TAIL_BEYOND:
        return None, None
    try:
        deviation = tail_deviation(atoms, results["energy"], settings)
    except labels.LabelError as error:
        return f"fragment fails alone: {error}", None
    far_off = abs(deviation) > TAIL
    return (f"more than {TAIL} eV off charges and dipoles beyond {TAIL_BEYOND} Å" if far_off else None), deviation


def state_of(atoms: Atoms) -> tuple:
    """Return (group, total charge, multiplicity)."""
    return str(atoms.info["group"]), int(atoms.info["total_charge"]), int(atoms.info["multiplicity"])


# ---------------------------------------------------------------------------------------------- the whole set


class Builder:
    """Run the steps and keep what they found out for the report."""

    def __init__(self, output: Path, work: Path, seed: int, workers: int) -> None:
        self.output, self.work, self.seed, self.workers = output, work, seed, workers
        self.console = Console(stderr=True)
        self.report: dict[str, Any] = {"seed": seed, "states_left_out": [], "splits": {}}
        self.lowest: dict[tuple, float] = {}
        self.seen: dict[tuple, str] = {}
        for folder in (output, work):
            folder.mkdir(parents=True, exist_ok=True)

    def map(self, title: str, function: Callable, tasks: list[tuple]) -> list:
        """Apply ``function(*task)`` in worker processes, keeping the order."""
        with labels.worker_pool(self.workers) as pool:
            jobs = [pool.submit(function, *task) for task in tasks]
            return [job.result() for job in track(jobs, title, console=self.console)]

    def minima(self) -> dict[str, Minimum]:
        """Relax all states; those without a bound minimum are reported and left out."""
        species = {**tables.SEEN, **tables.UNSEEN}
        fragments = [(name, *state) for name, entry in species.items() for state in entry.states]
        found = {}
        results = self.map("minima", find_minimum, [(fragment, self.seed) for fragment in fragments])
        for fragment, result in zip(fragments, results, strict=True):
            if isinstance(result, Minimum):
                found[name_of(fragment)] = result
            else:
                self.report["states_left_out"].append(result)
                self.console.print(f"[yellow]left out[/] {result}", highlight=False)
        return found

    def structures(self, minima: dict[str, Minimum]) -> dict[str, list[Atoms]]:
        """Return the unlabelled frames of every split."""
        states, pairs = [], []
        for split, counts in SEEN_SPLITS.items():
            states += [(split, counts, (n, *s)) for n, entry in tables.SEEN.items() for s in entry.states]
            pairs += [(split, counts, (0.0, TRAIN_REACH), p) for p in tables.SEEN_PAIRS]
        unseen = "test_unseen_molecules"
        states += [(unseen, UNSEEN_COUNTS, (n, *s)) for n, entry in tables.UNSEEN.items() for s in entry.states]
        pairs += [(unseen, UNSEEN_COUNTS, (0.0, TRAIN_REACH), p) for p in tables.UNSEEN_PAIRS]
        pairs += [("test_far_pairs", Counts(scan=FAR_COUNT), FAR, p) for p in tables.SEEN_PAIRS]
        tasks: list[tuple[Callable[..., list[Atoms]], tuple]] = [
            (sample_state, (f, minima[name_of(f)], split, counts, self.seed))
            for split, counts, f in states
            if name_of(f) in minima
        ]
        tasks += [
            (sample_pair, (p, used(p, minima), split, counts, span, self.seed))
            for split, counts, span, p in pairs
            if all(f[0] in tables.ATOMS or name_of(f) in minima for f in p)
        ]
        results: dict[str, list[Atoms]] = {}
        for (_, arguments), frames in zip(tasks, self.map("sampling", _call, tasks), strict=True):
            results.setdefault(arguments[2], []).extend(frames)
        return results

    def label(self, name: str, frames: list[Atoms], settings: labels.Settings) -> list[Atoms]:
        """Label frames in the work folder and return those that succeeded; failures go to the report."""
        target = self.work / f"{name}.extxyz.gz"
        result = labels.label_frames(labels.prepare(frames), target, settings, self.workers, self.console)
        entry = {key: result[key] for key in ("input", "date", "settings", "versions")}
        entry["failed"] = dict(Counter(f"{f['group']}: {f['reason']}" for f in result["failed"]))
        self.report["splits"][name] = entry
        return labels.read_frames(target)

    def publish(self, name: str, frames: list[Atoms], settings: labels.Settings) -> None:
        """Leave out faulty frames and write one split."""
        check = partial(fault, lowest=self.lowest, settings=settings)
        found = self.map(f"checking {name}", check, [(atoms,) for atoms in frames])
        left_out = Counter(f"{a.info['group']}: {why}" for a, (why, _) in zip(frames, found, strict=True) if why)
        kept = [a for a, (why, _) in zip(frames, found, strict=True) if not why]
        for atoms in kept:
            self.refuse_duplicate(name, atoms)
            for key in ("fragment_charge", "fragment_spin"):
                atoms.info.pop(key, None)
        labels.write_frames(self.output / f"{name}.extxyz.gz", kept)
        tails = np.abs([tail for why, tail in found if not why and tail is not None])
        summary = {"written": len(kept), "left_out": dict(left_out), "pairs_beyond_5_A": len(tails)}
        if len(tails):
            summary |= {"tail_deviation_eV": {"median": float(np.median(tails)), "max": float(tails.max())}}
        self.report["splits"][name].update(summary)
        self.console.print(f"{name}: {len(kept)} frames, {sum(left_out.values())} left out", highlight=False)
        self.save_report()

    def refuse_duplicate(self, name: str, atoms: Atoms) -> None:
        """Raise if the same structure and state is in two splits of one level of theory."""
        key = (atoms.info["method"], atoms.numbers.tobytes(), atoms.positions.tobytes(), *state_of(atoms))
        if self.seen.setdefault(key, name) != name:
            raise labels.LabelError(f"a frame of {atoms.info['group']} is in both {self.seen[key]} and {name}")

    def save_report(self) -> None:
        """Write provenance and what was left out beside the data."""
        self.report["command"] = labels.command_line()
        text = json.dumps(self.report, indent=1, default=str) + "\n"
        labels.replace_file(self.output / "provenance.json", text.encode())

    def note_lowest(self, frames: list[Atoms]) -> None:
        """Remember the lowest energy of each group and state."""
        for atoms in frames:
            key = state_of(atoms)
            self.lowest[key] = min(self.lowest.get(key, np.inf), atoms.calc.results["energy"])

    def main_level(self) -> tuple[dict[str, list[Atoms]], dict[str, Minimum]]:
        """Make and publish the GFN2-xTB splits; return the structures and minima for the second level."""
        minima = self.minima()
        structures = self.structures(minima)
        settings = labels.Settings("gfn2")
        labelled = {name: self.label(name, frames, settings) for name, frames in structures.items()}
        for frames in labelled.values():
            self.note_lowest(frames)
        for name, frames in labelled.items():
            self.publish(name, frames, settings)
        self.isolated("isolated_atoms", tables.ISOLATED_ATOMS, settings)
        return structures, minima

    def second_level(self, structures: dict[str, list[Atoms]], minima: dict[str, Minimum]) -> None:
        """Make and publish the density functional subset: frames of the same splits, and scans of further pairs."""
        settings = labels.Settings("pyscf", {"xc": "wb97x", "basis": "def2-svpd", "population": "iao"})
        self.lowest = {}
        labelled = {}
        for split, (per_state, per_pair) in DFT_COUNTS.items():
            name = f"wb97x_{split}"
            rng = rng_for(self.seed, name)
            frames = []
            for fragment in tables.DFT_STATES:
                same = [a for a in structures[split] if state_of(a) == fragment]
                chosen = rng.permutation(len(same))[:per_state]
                frames += [same[i] for i in sorted(chosen)]
            for pair in tables.DFT_PAIRS:
                counts = Counts(scan=per_pair)
                frames += sample_pair(pair, minima, name, counts, (0.0, FAR[1]), self.seed)
            labelled[name] = self.label(name, frames, settings)
            self.note_lowest(labelled[name])
        for name, frames in labelled.items():
            self.publish(name, frames, settings)
        self.isolated("wb97x_isolated_atoms", tables.DFT_ISOLATED_ATOMS, settings)

    def isolated(self, name: str, atoms: dict[str, int], settings: labels.Settings) -> None:
        """Write energies of neutral atoms in their ground-state multiplicity."""
        frames = []
        for symbol, multiplicity in atoms.items():
            frames.append(Atoms([atomic_numbers[symbol]], [[0, 0, 0]]))
            frames[-1].info.update(total_charge=0, multiplicity=multiplicity, group=symbol, config_type="IsolatedAtom")
        labels.write_frames(self.output / f"{name}.extxyz", self.label(name, frames, settings))
        self.save_report()


def used(pair: tuple[tables.Fragment, tables.Fragment], minima: dict[str, Minimum]) -> dict[str, Minimum]:
    """Return the minima of the two fragments only, which is what a worker needs."""
    return {name_of(f): minima[name_of(f)] for f in pair if f[0] not in tables.ATOMS}


def _call(function: Callable, arguments: tuple) -> list[Atoms]:
    return function(*arguments)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--output", type=Path, default=Path("eqff/datasets/ions"), help="folder of the data set")
    p.add_argument("--work", type=Path, default=Path("build/ions"), help="folder of intermediate files")
    p.add_argument("--seed", type=int, default=20, help="seed of all random numbers (default 20)")
    p.add_argument("--workers", type=int, default=1, help="worker processes of one thread each (default 1)")
    args = p.parse_args(argv)
    builder = Builder(args.output, args.work, args.seed, args.workers)
    structures, minima = builder.main_level()
    builder.second_level(structures, minima)
    return 0


if __name__ == "__main__":
    sys.exit(main())
