"""SevenNet's weights in eqff's parts, beside SevenNet's network written with e3nn, and beside the package itself."""

import math
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from ase.build import bulk
from ase.data import atomic_numbers
from e3nn import o3
from e3nn.nn import FullyConnectedNet, Gate
from torch.nn.functional import silu

import eqff
from eqff.errors import ConfigError, DownloadError, ModelFileError
from eqff.imported.sevenn import convert
from eqff.imported.sevenn_package import fetch_from_sevenn
from eqff.testing.graphs import graph_of

SPECIES = ["Si", "C", "O"]  # in another order than by atomic number, as in SevenNet
CONFIG = {
    "chemical_species": SPECIES,
    "_type_map": {atomic_numbers[symbol]: index for index, symbol in enumerate(SPECIES)},
    "irreps_manual": ["6x0e", "6x0e+4x1e+2x2e", "6x0e+4x1e+2x2e", "6x0e"],
    "act_gate": {"e": "silu", "o": "tanh"},
    "act_scalar": {"e": "silu", "o": "tanh"},
    "cutoff": 4.0,
    "cutoff_function": {"cutoff_function_name": "XPLOR", "cutoff_on": 3.5},
    "radial_basis": {"radial_basis_name": "bessel", "bessel_basis_num": 5},
    "weight_nn_hidden_neurons": [7, 8],
    "self_connection_type": "linear",
    "is_parity": False,
}


class Theirs(torch.nn.Module):
    """SevenNet in e3nn's modules, under the names of its checkpoints: 0_convolution.weight_nn.layer0.weight..."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.irreps = [o3.Irreps(text) for text in config["irreps_manual"]]
        count, size = len(config["chemical_species"]), config["radial_basis"]["bessel_basis_num"]
        self.filters = o3.Irreps([(1, (l, 1)) for l in range(self.irreps[1].lmax + 1)])
        coefficients = torch.arange(1, size + 1) * math.pi / config["cutoff"] + 0.05 * torch.rand(size)
        self.put("edge_embedding.basis_function.coeffs", torch.nn.Parameter(coefficients))
        self.put("onehot_to_feature_x.linear", o3.Linear(f"{count}x0e", self.irreps[0]))
        self.paths = []
        for t, (before, after) in enumerate(zip(self.irreps[:-1], self.irreps[1:], strict=True)):
            self.interaction(t, before, after, [size, *config["weight_nn_hidden_neurons"]])
        half = o3.Irreps(f"{self.irreps[-1].dim // 2}x0e")
        self.put("reduce_input_to_hidden.linear", o3.Linear(self.irreps[-1], half))
        self.put("reduce_hidden_to_energy.linear", o3.Linear(half, "1x0e"))
        self.put("rescale_atomic_energy.shift", torch.nn.Parameter(torch.tensor([-5.0, -8.0, -2.0])[:count]))
        self.put("rescale_atomic_energy.scale", torch.nn.Parameter(torch.full((count,), 1.7)))

    def put(self, name, module):
        *folders, last = name.split(".")
        place = self
        for folder in folders:
            if not hasattr(place, folder):
                place.add_module(folder, torch.nn.Module())
            place = getattr(place, folder)
        setattr(place, last, module)

    def interaction(self, t, before, after, hidden):
        scalars, gated = o3.Irreps(after[:1]), o3.Irreps(after[1:])
        gates = o3.Irreps([(mul, "0e") for mul, _ in gated])
        gate = Gate(scalars, [silu], gates, [silu] * len(gates), gated)
        paths = [
            (i, j, (mul, ir))
            for i, (mul, ir_x) in enumerate(before)
            for j, (_, ir_f) in enumerate(self.filters)
            for ir in ir_x * ir_f
            if ir.l <= after.lmax
        ]
        paths.sort(key=lambda path: path[2][1].l)  # stable
        middle = o3.Irreps([out for _, _, out in paths])
        instructions = [(i, j, k, "uvu", True) for k, (i, j, _) in enumerate(paths)]
        self.put(f"{t}_self_connection_intro.linear", o3.Linear(before, gate.irreps_in))
        self.put(f"{t}_self_interaction_1.linear", o3.Linear(before, before))
        self.put(
            f"{t}_convolution.convolution",
            o3.TensorProduct(before, self.filters, middle, instructions, shared_weights=False, internal_weights=False),
        )
        numel = sum(mul for _, _, (mul, _) in paths)
        self.put(f"{t}_convolution.weight_nn", FullyConnectedNet([*hidden, numel], silu))
        self.put(f"{t}_convolution.denominator", torch.nn.Parameter(torch.tensor([3.0 + t])))
        self.put(f"{t}_self_interaction_2.linear", o3.Linear(middle.simplify(), gate.irreps_in))
        self.put(f"{t}_equivariant_gate.gate", gate)

    def energy(self, graph):
        cutoff, onset = self.config["cutoff"], self.config["cutoff_function"]["cutoff_on"]
        edges, part = graph.local, self._modules
        r = edges.lengths[:, None]
        radial = 2 / cutoff * torch.sin(part["edge_embedding"].basis_function.coeffs * r) / r
        ends = (cutoff**2 - r**2) ** 2 * (cutoff**2 + 2 * r**2 - 3 * onset**2) / (cutoff**2 - onset**2) ** 3
        radial = radial * torch.where(r < onset, 1.0, ends)
        harmonics = o3.spherical_harmonics(self.filters, edges.vectors, True, "component")
        kinds = torch.tensor([self.config["_type_map"][int(z)] for z in graph.numbers])
        x = part["onehot_to_feature_x"].linear(torch.nn.functional.one_hot(kinds, 3).to(radial.dtype))
        for t in range(len(self.irreps) - 1):
            convolution = part[f"{t}_convolution"]
            skip = part[f"{t}_self_connection_intro"].linear(x)
            x = part[f"{t}_self_interaction_1"].linear(x)
            sent = convolution.convolution(x[edges.sender], harmonics, convolution.weight_nn(radial))
            summed = torch.zeros(len(x), sent.shape[1], dtype=sent.dtype).index_add(0, edges.receiver, sent)
            x = part[f"{t}_self_interaction_2"].linear(summed / convolution.denominator) + skip
            x = part[f"{t}_equivariant_gate"].gate(x)
        x = part["reduce_hidden_to_energy"].linear(part["reduce_input_to_hidden"].linear(x))[:, 0]
        x = x * part["rescale_atomic_energy"].scale[kinds] + part["rescale_atomic_energy"].shift[kinds]
        return torch.zeros(graph.num_structures, dtype=x.dtype).index_add(0, graph.batch, x)


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    try:
        return Theirs(CONFIG)
    finally:
        torch.set_default_dtype(torch.float32)


def structures():
    carbide = bulk("SiC", "zincblende", a=4.3) * (2, 1, 1)
    quartz = bulk("SiO", "rocksalt", a=4.4)
    for seed, atoms in enumerate((carbide, quartz)):
        atoms.rattle(0.1, seed=seed)
        atoms.info |= {"total_charge": 0, "multiplicity": 1}
    return [carbide, quartz]


def test_energies_and_forces_are_those_of_the_same_network_in_e3nn(theirs):
    ours = convert(CONFIG, theirs.state_dict(), "PBE", torch.float64).potential
    graph = graph_of(structures(), ours.neighbour_lists, torch.float64)
    found = ours(graph, create_graph=False)
    positions = graph.positions.clone().requires_grad_()
    expected = theirs.energy(graph.deformed(positions))
    (gradient,) = torch.autograd.grad(expected.sum(), positions)
    torch.testing.assert_close(found["energy"], expected.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found["forces"], -gradient, rtol=1e-9, atol=1e-9)
    assert gradient.abs().max() > 1e-2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_parity": True}, "is_parity=True"),
        ({"use_modality": True}, "use_modality=True.*levels of theory"),
        ({"self_connection_type": "nequip"}, "self_connection_type='nequip'"),
        ({"cutoff_function": {"cutoff_function_name": "poly_cut", "poly_cut_p_value": 5}}, "cutoff function"),
        ({"irreps_manual": ["6x0e", "6x0e+4x1e", "6x0e+2x1e", "6x0e"]}, "different numbers of channels"),
        ({"irreps_manual": ["6x0e", "6x0e+4x2e", "6x0e"]}, "leave degrees out"),
    ],
)
def test_what_has_no_counterpart_is_refused_before_weights_are_read(change, message):
    with pytest.raises(ModelFileError, match=message):
        convert({**CONFIG, **change}, {}, "", torch.float64)


@pytest.fixture
def package(monkeypatch, tmp_path, theirs):
    """A package ``sevenn`` with one model, which counts how often it is read; and an empty cache."""
    monkeypatch.setenv("EQFF_CACHE", str(tmp_path / "cache"))
    checkpoint = tmp_path / "checkpoint.pth"
    checkpoint.write_bytes(b"weights")
    reads = []

    def named(name):
        if name != "7net-0":
            raise ValueError("Not a valid pretrained model name")
        return str(checkpoint)

    def read(path):
        reads.append(path)
        return SimpleNamespace(config=CONFIG, build_model=lambda: theirs)

    for name, content in {
        "": {},
        ".util": {"pretrained_name_to_path": named},
        ".checkpoint": {"SevenNetCheckpoint": read},
    }.items():
        module = ModuleType("sevenn" + name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, "sevenn" + name, module)
    return SimpleNamespace(checkpoint=checkpoint, reads=reads)


def test_models_of_the_package_load_by_name_and_are_converted_once(package):
    model = eqff.load("sevenn://7net-0")
    again = eqff.load("sevenn://7net-0", dtype="float64")
    assert package.reads == [str(package.checkpoint)]
    assert model.elements == (6, 8, 14) and model.dtype == torch.float32 and again.dtype == torch.float64
    assert model.metadata.model_context().level_of_theory.startswith("PBE")
    assert "Park" in model.metadata.training["citation"]
    atoms = structures()[0]
    atoms.calc = model.calculator(outside="refuse")
    assert math.isfinite(atoms.get_potential_energy()) and atoms.get_stress().shape == (6,)


def test_another_checkpoint_is_another_model(package):
    first = fetch_from_sevenn(f"sevenn://{package.checkpoint}")
    package.checkpoint.write_bytes(b"other weights")
    assert fetch_from_sevenn(f"sevenn://{package.checkpoint}") != first
    assert "citation" not in eqff.load(f"sevenn://{package.checkpoint}").metadata.training


def test_states_of_charge_and_unknown_elements_are_refused(package):
    model = eqff.load("sevenn://7net-0")
    atoms = structures()[0]
    atoms.info["total_charge"] = 1
    atoms.info["multiplicity"] = 2
    atoms.calc = model.calculator(outside="refuse")
    with pytest.raises(eqff.errors.ModelError, match=r"\+1 doublet"):
        atoms.get_potential_energy()
    atoms.info |= {"total_charge": 0, "multiplicity": 1}
    atoms.numbers[0] = 26
    with pytest.raises(eqff.errors.ModelError, match="Fe"):
        atoms.get_potential_energy()


def test_names_that_are_none(package, monkeypatch):
    with pytest.raises(ModelFileError, match="7net-O.*Did you mean '7net-0'"):
        eqff.load("sevenn://7net-O")
    with pytest.raises(ModelFileError, match="'/nowhere/checkpoint.pth' is not there"):
        eqff.load("sevenn:///nowhere/checkpoint.pth")
    with pytest.raises(ModelFileError, match="is a folder"):
        eqff.load(f"sevenn://{package.checkpoint.parent}")
    package.checkpoint.rename(package.checkpoint.with_suffix(".safetensors"))
    with pytest.raises(ModelFileError, match="load it without sevenn://"):
        eqff.load(f"sevenn://{package.checkpoint.with_suffix('.safetensors')}")
    monkeypatch.setenv("EQFF_OFFLINE", "1")
    with pytest.raises(DownloadError, match="7net-omni.*EQFF_OFFLINE"):
        eqff.load("sevenn://7net-omni")


def saved(path, content):
    torch.save(content, path)
    return path.read_bytes()


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


FILES = {
    "empty": lambda path, state: b"",
    "text": lambda path, state: b"cutoff: 5.0",
    "cut off": lambda path, state: saved(path, {"config": CONFIG, "state": state})[:-2000],
    "damaged": lambda path, state: b"\x80\x02}q" + 300 * b"\xff",
    "names a class that is nowhere": lambda path, state: b"\x80\x02cno_such_module\nThing\n.",
    "a list": lambda path, state: saved(path, [1, 2]),
    "another program's": lambda path, state: saved(path, {"model": {}, "optimizer": {}}),
    "other settings": lambda path, state: saved(path, {"config": {"cutoff": 5.0}, "state": state}),
    "a weight is missing": lambda path, state: saved(
        path, {"config": CONFIG, "state": without(state, "1_convolution.denominator")}
    ),
    "a weight of another size": lambda path, state: saved(
        path, {"config": CONFIG, "state": state | {"0_self_interaction_1.linear.weight": torch.zeros(3)}}
    ),
}


class Reader:
    """Reads as SevenNet's own: when it is asked for the settings, whatever is in the file."""

    def __init__(self, path):
        self.path = path

    @property
    def content(self):
        return torch.load(self.path, weights_only=False)

    @property
    def config(self):
        return self.content.get("config", {})

    def build_model(self):
        return SimpleNamespace(state_dict=lambda: self.content["state"])


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_not_sevennets_are_one_message(package, theirs, name, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["sevenn.checkpoint"], "SevenNetCheckpoint", Reader)
    package.checkpoint.write_bytes(saved(package.checkpoint, {"config": CONFIG, "state": theirs.state_dict()}))
    address = f"sevenn://{package.checkpoint}"
    converted = eqff.load(address)
    assert converted.elements == (6, 8, 14)
    assert converted.metadata.training["name"] == f"sevenn://{package.checkpoint.name}"  # not where it lay
    package.checkpoint.write_bytes(FILES[name](tmp_path / "other", theirs.state_dict()))
    before = sorted((tmp_path / "cache").rglob("*"))
    with pytest.raises(ModelFileError, match=r"SevenNet (checkpoint|model).*(download it again|Give the checkpoint)"):
        eqff.load(address)
    assert sorted((tmp_path / "cache").rglob("*")) == before  # nothing is kept of it


def test_a_download_that_fails_in_the_package(package, monkeypatch):
    def offline(name):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(sys.modules["sevenn.util"], "pretrained_name_to_path", offline)
    with pytest.raises(DownloadError, match="'7net-omni': no route to host"):
        eqff.load("sevenn://7net-omni")


def test_without_the_package_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sevenn", None)
    monkeypatch.setitem(sys.modules, "sevenn.util", None)
    with pytest.raises(ConfigError, match=r"pip install 'eqff\[sevenn\]'"):
        eqff.load("sevenn://7net-0")


def test_other_schemes_are_no_models():
    with pytest.raises(ConfigError, match="'7net://a' is no address.*sevenn://"):
        eqff.load("7net://a")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["7net-0", "7net-l3i5"])
def test_the_published_models_are_those_of_the_package(name, tmp_path, monkeypatch):
    """Energies, forces and stress of SevenNet's own calculator, to the rounding of its single precision."""
    pytest.importorskip("sevenn", reason="the package sevenn is not installed: pip install 'eqff[sevenn]'")
    from sevenn.calculator import SevenNetCalculator

    monkeypatch.setenv("EQFF_CACHE", str(tmp_path))
    ours, original = eqff.load(f"sevenn://{name}").calculator(), SevenNetCalculator(name, device="cpu")
    for atoms in structures():
        found = []
        for calculator in (ours, original):
            atoms.calc = calculator
            found.append((atoms.get_potential_energy() / len(atoms), atoms.get_forces(), atoms.get_stress()))
        assert found[0][0] == pytest.approx(found[1][0], abs=5e-6)
        assert abs(found[0][1] - found[1][1]).max() < 5e-5  # eV/Å, of some eV/Å
        assert abs(found[0][2] - found[1][2]).max() < 1e-5
