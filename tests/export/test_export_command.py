"""What `python -m eqff.export` prints."""

import warnings
from types import SimpleNamespace

from omegaconf import OmegaConf

from eqff.export import command


def test_deprecations_inside_of_torch_are_not_shown(monkeypatch, recwarn, capsys):
    def export(cfg):
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated, use ...", FutureWarning, stacklevel=1)
        return SimpleNamespace(beside=("terms.coulomb",))

    monkeypatch.setattr(command, "export", export)
    command._from_command_line(OmegaConf.create({"output": "model.pt2"}))
    assert not [str(warning.message) for warning in recwarn if "LeafSpec" in str(warning.message)]
    assert "model.pt2: agrees with the model; terms.coulomb runs beside" in capsys.readouterr().out
