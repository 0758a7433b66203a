"""Which parameter is optimized how: groups by name pattern, weight decay for weights only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from eqff.errors import ConfigError

GroupOptions = Callable[[str, Tensor], Mapping[str, Any]]


def parameter_groups(
    model: nn.Module,
    patterns: Mapping[str, Mapping[str, Any]] | None = None,
    no_decay: Sequence[str] = (),
    options: GroupOptions | None = None,
    *,
    decays: bool = True,
) -> list[dict[str, Any]]:
    """Groups in the form that optimizers take, each trainable parameter in exactly one.

    Args:
        model: Its parameters that require gradients are grouped; their names are what patterns match.
        patterns: Groups of your own: ``match``, a pattern (``terms.*``) or a list of them, and the options (``lr``,
            ``weight_decay``, ...) that hold for what it matches.
        no_decay: Patterns of parameters without weight decay, besides all with fewer than two dimensions (biases,
            scales): decay there only pulls towards wrong constants.
        options: More options of one parameter, from an optimizer that treats matrices and vectors differently.
        decays: Whether the optimizer knows weight decay at all.

    Raises:
        ConfigError: Two groups match one parameter, or a pattern matches none.
    """
    patterns = {name: dict(group) for name, group in (patterns or {}).items() if group is not None}
    matches = {name: _as_list(group.pop("match", None), name) for name, group in patterns.items()}
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    places = {f"groups.{group}": wanted for group, wanted in matches.items()} | {"no_decay": no_decay}
    _check_used(places, [name for name, _ in named])
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, parameter in named:
        group = _group_of(name, matches)
        chosen = dict(options(name, parameter)) if options else {}
        if decays and (parameter.ndim < 2 or _matches(name, no_decay)):
            chosen["weight_decay"] = 0.0
        chosen |= patterns.get(group, {})
        key = (group, *sorted((option, repr(value)) for option, value in chosen.items()))
        groups.setdefault(key, {"name": _title(group, chosen), **chosen, "params": []})["params"].append(parameter)
    return list(groups.values())


def _group_of(name: str, matches: Mapping[str, Sequence[str]]) -> str:
    found = [group for group, wanted in matches.items() if _matches(name, wanted)]
    if len(found) > 1:
        both = " and ".join(found)
        raise ConfigError(f"training.optimizer.groups: {both} both match '{name}'; make their patterns exclusive.")
    return found[0] if found else "default"


def _check_used(places: Mapping[str, Sequence[str]], names: Sequence[str]) -> None:
    for place, wanted in places.items():
        for pattern in wanted:
            if not any(fnmatchcase(name, pattern) for name in names):
                tops = sorted({".".join(name.split(".")[:2]) for name in names})
                raise ConfigError(
                    f"training.optimizer.{place}: '{pattern}' matches no trainable parameter; their names "
                    f"start with {', '.join(tops)}."
                )


def _as_list(match: str | Sequence[str] | None, group: str) -> list[str]:
    if not match:
        raise ConfigError(f"training.optimizer.groups.{group}.match is missing: give a pattern such as 'terms.*'.")
    return [match] if isinstance(match, str) else list(match)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _title(group: str, chosen: Mapping[str, Any]) -> str:
    return f"{group} (no decay)" if chosen.get("weight_decay") == 0.0 else group
