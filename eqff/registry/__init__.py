"""Pretrained models by name: which there are, where they come from, and how they get here (docs/pretrained_models.md).

`eqff.registry.loading`, which needs torch, is not imported here, so that listing models doesn't wait for it.
"""

from eqff.registry.catalogue import catalogue, find_entry, registry_files
from eqff.registry.entry import ModelEntry
from eqff.registry.locate import Located, locate

__all__ = ["Located", "ModelEntry", "catalogue", "find_entry", "locate", "registry_files"]
