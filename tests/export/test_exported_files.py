"""What stands in an exported model's file, and how its code is copied, pickled and found again."""

import copy
import multiprocessing
import pickle
import re
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import pytest
import torch
from ase.build import molecule

import eqff
from eqff.build import ModelContext, build_potential
from eqff.checkpoints import save_model
from eqff.errors import ModelFileError
from eqff.export.code import Code
from eqff.export.export import export_model
from eqff.export.places import folders, without_folders

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1, "cutoff": 3.0},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
    "corrections": {"d3": {"_target_": "eqff.terms.d3.D3", "functional": "pbe", "cutoff": 9.0}},
}
CONTEXT = ModelContext((1, 6, 8), {1: -13.6, 6: -1030.0, 8: -2042.0})


def test_folders_are_taken_out_of_texts_and_nothing_else_changes():
    code = b"\x7fELF\x00/home/ada/venv/torch/utils.h\x00\x01/home/ada\x00/home/adam/x.h\x00a/home/ada/b c.cpp\x00\x02"
    found = without_folders(code, ["/home/ada"])
    assert len(found) == len(code)
    assert b"/home/ada/" not in found and b"/home/ada\x00" not in found
    assert b"/utils.h\x00\x01" in found and b"/b c.cpp\x00\x02" in found  # what names the place of an error
    assert b"\x00/home/adam/x.h\x00a" in found  # another folder
    assert without_folders(code, []) == code
    not_a_text = b"\x00/home/ada\x01\x02"
    assert without_folders(not_a_text, ["/home/ada"]) == not_a_text


def test_folders_are_those_that_compilers_see():
    found = folders()
    assert list(found) == sorted(found, key=len, reverse=True)  # the inner ones first
    for place in (Path(torch.__file__).parent, tempfile.gettempdir(), Path.home()):
        assert any(str(place).startswith(folder) for folder in found) or len(str(place)) < 4


class Loader:
    """Stands in for PyTorch's, which needs real code."""

    def __init__(self, path, name, *_):
        self.content = Path(path).read_text(encoding="utf-8") + name

    def boxed_run(self, tensors):
        return [self.content, *tensors]


@pytest.fixture
def code(tmp_path, monkeypatch):
    monkeypatch.setattr(torch._C._aoti, "AOTIModelPackageLoader", Loader)
    (tmp_path / "model.pt2").write_text("code of ", encoding="utf-8")
    return Code(tmp_path / "model.pt2", "energy")


def test_code_is_pickled_by_its_file(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = pickle.dumps(Code("model.pt2", "energy"))
    monkeypatch.chdir("/")
    for copied in (pickle.loads(pickle.dumps(code)), pickle.loads(relative), copy.copy(code), copy.deepcopy([code])[0]):
        assert copied([1]) == ["code of energy", 1]
    assert copy.deepcopy(code) is code


def test_threads_take_turns(code, monkeypatch):
    """PyTorch would have one wait for the other with the interpreter's lock in hand, which that one needs."""
    inside, most = [], []

    def run(loader, tensors):
        inside.append(tensors)
        most.append(len(inside))
        time.sleep(0.002)  # others get their turn, as in an operation of Python
        inside.pop()

    monkeypatch.setattr(Loader, "boxed_run", run)
    threads = [threading.Thread(target=code, args=([],)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_pickled_code_is_refused_where_its_file_is_another_one(code):
    pickled = pickle.dumps(code)
    code.path.write_text("other code of ", encoding="utf-8")
    with pytest.raises(ModelFileError, match="exported anew"):
        pickle.loads(pickled)
    code.path.unlink()
    with pytest.raises(ModelFileError, match="processes that share a model must see its file"):
        pickle.loads(pickled)


def _energy(calculator):
    atoms = molecule("CH3CH2OH")
    atoms.calc = calculator
    return atoms.get_potential_energy()


@pytest.mark.slow
def test_a_compiled_file_tells_of_no_folder_and_goes_to_other_processes(tmp_path):
    torch.manual_seed(0)
    file, model = tmp_path / "model.safetensors", tmp_path / "model.pt2"
    potential = build_potential(CONFIG, CONTEXT, torch.float64).eval()
    save_model(file, potential, model_config=CONFIG, context=CONTEXT)
    made = export_model(file, model)
    with zipfile.ZipFile(model) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert not [place for place in folders() if place.encode() + b"/" in content], name
            assert not re.search(rb"/(home|Users)/", content), name
    expected = _energy(eqff.load(file).calculator(total_charge=0, multiplicity=1))
    loaded = eqff.load(model, trust_code=True)
    calculators = [each.calculator(total_charge=0, multiplicity=1) for each in (made, loaded)]
    calculators += [copy.deepcopy(calculators[0])]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        energies = [*map(_energy, calculators), *pool.map(_energy, calculators)]
    assert energies == pytest.approx([expected] * 6, abs=1e-9)  # D3, which is added, among them
