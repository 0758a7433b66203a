"""Energy terms that a model's labels lack, as dispersion: left out of training and errors, added where it is used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from eqff.build import CORRECTIONS, build_corrections
from eqff.parts import Term
from eqff.potential import Potential

_log = logging.getLogger(__name__)


@singledispatch
def corrected(potential: Potential) -> Potential:
    """The potential with the corrections that its model file names; itself where there are none.

    Backbone, heads and terms are shared with the given one. ASE calculators, and so simulations, use this; evaluation
    against labels and training do not.

    Args:
        potential: With ``metadata``, as models from files have it; without, it has no corrections.
    """
    terms = lacking_corrections(potential)
    if not terms:
        return potential
    _log.warning("Energy and forces hold corrections that the model was not trained with: %s.", ", ".join(terms))
    return with_terms(potential, terms)


def with_terms(potential: Potential, terms: Mapping[str, Term]) -> Potential:
    """The potential with more energy terms, which have no parameters to learn; all else is shared with the given one.

    Args:
        potential: As it was built, or from a file.
        terms: By names that it does not have yet.
    """
    whole = Potential(
        potential.backbone,
        {**potential.terms, **terms},
        potential.heads,
        potential.exchanges,
        elements=potential.elements,
        fragments=potential.fragments,
    )
    whole.metadata = potential.metadata
    device = next(potential.buffers()).device
    return whole.to(device).train(potential.training)


def lacking_corrections(potential: Potential) -> dict[str, Term]:
    """The corrections that a potential's model file names; none where there are none, or where it has them already."""
    metadata = potential.metadata
    # a model that was built has no terms of the same names but these (`eqff.build.build_corrections`)
    if metadata is None or set(names_of_corrections(metadata.model_config)) <= set(potential.terms):
        return {}
    return dict(build_corrections(metadata.model_config, metadata.model_context(), potential))


def names_of_corrections(model_config: Mapping[str, Any]) -> list[str]:
    """Those of a ``model`` config."""
    return [name for name, part in (model_config.get(CORRECTIONS) or {}).items() if part]
