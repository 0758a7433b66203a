"""Composes what commands compose once, instead of three times: to check the command line, to see what to do, to do it.

It takes Hydra some tenths of a second, which is most of the time of a command that refuses its input.
"""

from __future__ import annotations

import copy
import os
from collections import OrderedDict

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from omegaconf import DictConfig

KEPT = 4
"""Configs that are kept; those of one command follow on each other."""


def compose_once() -> None:
    """From now on, equal command lines in the same folder are given copies of what Hydra has made of the first."""
    original, kept = ConfigLoaderImpl._load_configuration_impl, OrderedDict()

    def composed(self, config_name, overrides, run_mode, from_shell=True, **options) -> DictConfig:
        places = tuple((place.provider, place.path) for place in self.get_search_path().get_path())
        key = (places, config_name, tuple(overrides), run_mode, os.getcwd(), *options.items())
        if key not in kept:
            made = original(self, config_name, overrides, run_mode, from_shell, **options)
            kept[key] = copy.deepcopy(made)
            while len(kept) > KEPT:
                kept.popitem(last=False)
            return made
        again = copy.deepcopy(kept[key])
        if JobRuntime in Singleton._instances:
            again.hydra.job.name = JobRuntime.instance().get("name")
        return again

    ConfigLoaderImpl._load_configuration_impl = composed
