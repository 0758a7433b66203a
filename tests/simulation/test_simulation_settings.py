"""Settings of simulations, as the command has them."""

from dataclasses import MISSING, fields

import pytest
from omegaconf import OmegaConf

from eqff.config import config_directory
from eqff.simulation import SimulationSettings

COMMAND = OmegaConf.to_container(OmegaConf.load(config_directory() / "commands" / "simulate.yaml"), resolve=False)


@pytest.mark.parametrize("setting", fields(SimulationSettings), ids=lambda setting: setting.name)
def test_the_command_has_every_setting_with_its_default(setting):
    """What is not in the file can't be given on the command line."""
    default, found = setting.default, COMMAND[setting.name]
    assert found == ("???" if default is MISSING else list(default) if isinstance(default, tuple) else default)
