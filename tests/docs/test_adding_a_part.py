"""docs/adding-a-part.md, followed to the letter: every block is written or run, so that it can't go stale."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from follow import blocks

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "adding-a-part.md"

# where a file of the document goes when its part is to be a part of eqff, and what then stands for my_parts
INSIDE = {
    "my_parts/born_mayer.py": "eqff/terms/born_mayer.py",
    "my_parts/unpaired.py": "eqff/heads/unpaired.py",
    "my_parts/screened.py": "eqff/exchange/screened.py",
    "my_parts/pair_network.py": "eqff/backbones/pair_network.py",
    "my_parts/json_lines.py": "eqff/data/readers/json_lines.py",
    "conf/term/born_mayer.yaml": "conf/term/born_mayer.yaml",
    "conf/head/unpaired.yaml": "conf/head/unpaired.yaml",
    "conf/exchange/screened.yaml": "conf/exchange/screened.yaml",
    "conf/model/backbone/pair_network.yaml": "conf/model/backbone/pair_network.yaml",
    "test_born_mayer.py": "tests/terms/test_born_mayer.py",
    "test_unpaired.py": "tests/heads/test_unpaired.py",
    "test_screened.py": "tests/exchange/test_screened.py",
    "test_pair_network.py": "tests/backbones/test_pair_network.py",
    "test_json_lines.py": "tests/data/test_json_lines.py",
}


def python(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout[-6000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def test_in_a_folder_of_ones_own(tmp_path):
    output = python(tmp_path, Path(__file__).with_name("follow.py"), DOCUMENT)
    for name in ("born_mayer", "unpaired", "screened", "pair_network", "json_lines"):
        assert (tmp_path / "runs" / name / "model.safetensors").is_file()
        assert f"pytest test_{name}.py" in output
    assert "{'local':" in output or "'born_mayer':" in output


def test_every_file_of_the_document_has_its_place_inside():
    placed = {block.file for block in blocks(DOCUMENT.read_text(encoding="utf-8")) if block.file}
    assert placed - set(INSIDE) == {"my_parts/__init__.py", "my_parts/volumes.py", "make_file.py", "pytest.ini"}
    assert set(INSIDE) <= placed


def inside(text):
    """A file of the document as it is inside of eqff."""
    for old, new in INSIDE.items():
        if old.endswith(".py") and old.startswith("my_parts/"):
            text = text.replace(*(name.removesuffix(".py").replace("/", ".") for name in (old, new)))
    return re.sub(r'\neqff.allow\("my_parts"\)\n', "", text)


@pytest.mark.slow
def test_inside_of_eqff(tmp_path):
    for folder in ("eqff", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    document = DOCUMENT.read_text(encoding="utf-8")
    for block in blocks(document):
        if block.file in INSIDE:
            path = tmp_path / INSIDE[block.file]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(inside(block.text), encoding="utf-8")
        if block.file == "pytest.ini":
            (tmp_path / "pytest.ini").write_text(block.text, encoding="utf-8")
    readers = tmp_path / "eqff" / "data" / "readers" / "__init__.py"
    entry = re.search(r"^READERS = \((.*),\)$", document, re.M)[1]
    old = readers.read_text(encoding="utf-8")
    new = old.replace("READERS = (\n", f"READERS = (\n    {entry},\n").replace(
        "from eqff.data.readers.npz",
        "from eqff.data.readers.json_lines import read_json_lines\nfrom eqff.data.readers.npz",
    )
    assert new.count("read_json_lines") == 2
    readers.write_text(new, encoding="utf-8")
    assert "passed" in python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    parts = ["+term@model.terms.born_mayer=born_mayer", "+exchange@model.exchanges.screened=screened"]
    parts += [
        "+head@model.heads.spins=unpaired",
        "training.losses.spin_charges.weight=1",
        "model/backbone=pair_network",
    ]
    small = ["data.path=shipped:ions/train.extxyz.gz@:30", "trainer.max_steps=5", "tracking=none", "figures=false"]
    python(tmp_path, "-m", "eqff.train", *parts, *small, "output=run")
    assert (tmp_path / "run" / "model.safetensors").is_file()
