"""What a sweep varies, in Hydra's own grammar of overrides: ``seed=0,1,2``, ``range(...)``, ``interval(...)``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from eqff.command_line.overrides import quoted
from eqff.errors import ConfigError

Choice = dict[str, str]


@dataclass(frozen=True)
class Interval:
    """Numbers between two ends.

    Attributes:
        low: The smaller end.
        high: The larger one.
        whole: Whether only whole numbers.
        logarithmic: Whether drawn evenly in the logarithm: ``tag(log, interval(...))``.
    """

    low: float
    high: float
    whole: bool
    logarithmic: bool


@dataclass(frozen=True)
class Space:
    """Overrides of a command line, those with several values apart.

    Attributes:
        fixed: Overrides and options with one value, as given.
        axes: Key to its values, as text in Hydra's grammar.
        intervals: Key to the interval in which it is searched.
    """

    fixed: tuple[str, ...]
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """What is varied, in the order of the command line."""
        return (*self.axes, *self.intervals)

    def combinations(self) -> Iterator[Choice]:
        """All combinations of values, the last key fastest.

        Raises:
            ConfigError: There is an interval, which has no end of values.
        """
        if self.intervals:
            raise ConfigError(
                f"{', '.join(self.intervals)}: an interval is searched, not gone through: give sweep.search=tpe "
                "sweep.trials=20, or values with commas between."
            )
        for values in itertools.product(*self.axes.values()):
            yield dict(zip(self.axes, values, strict=True))

    def overrides(self, choice: Choice) -> list[str]:
        """The command line of one run."""
        return [*self.fixed, *(f"{key}={value}" for key, value in choice.items())]


def read_space(argv: Sequence[str]) -> Space:
    """Takes a command line apart.

    Raises:
        ConfigError: An override that can't be read, or a key that is varied twice.
    """
    fixed, axes, intervals = [], {}, {}
    for text in map(quoted, argv):
        override = None if text.startswith("-") or "=" not in text else _parse(text)
        if override is None or not override.is_sweep_override():
            fixed.append(text)
            continue
        key = override.get_key_element()
        if key in axes or key in intervals:
            raise ConfigError(f"'{key}' is varied twice. Give all its values at once, with commas between.")
        if override.is_interval_sweep():
            intervals[key] = _interval(override)
        else:
            axes[key] = _values(override, text)
    return Space(tuple(fixed), axes, intervals)


def _parse(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        message = str(error).splitlines()[0]
        raise ConfigError(f"'{text}' can't be read as KEY=VALUE: {message}") from error


def _values(override: Override, text: str) -> tuple[str, ...]:
    try:
        values = tuple(dict.fromkeys(override.sweep_string_iterator()))
    except HydraException as error:  # glob(*) needs Hydra's own sweeper
        raise ConfigError(f"'{text}': give the values themselves, with commas between.") from error
    if not values:
        raise ConfigError(f"'{text}' has no values.")
    return values


def _interval(override: Override) -> Interval:
    sweep = override.value()
    whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)
    logarithmic = "log" in sweep.tags
    key = override.get_key_element()
    if not sweep.start < sweep.end:
        raise ConfigError(f"'{key}': interval({sweep.start}, {sweep.end}) is empty.")
    if logarithmic and sweep.start <= 0:
        raise ConfigError(f"'{key}': a logarithmic interval begins above 0, not at {sweep.start}.")
    return Interval(sweep.start, sweep.end, whole, logarithmic)
