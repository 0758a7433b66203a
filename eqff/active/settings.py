"""The settings of the active-learning loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from eqff.active.jobs import Launch
from eqff.config import settings
from eqff.data.convert import Multiplicity
from eqff.errors import ConfigError
from eqff.outputs import require_writable
from eqff.ranges import Count, Seed

Paths = str | Sequence[str]
_OF_THE_LOOP = (
    "data.path",
    "data.val",
    "data.test",
    "data.seed",
    "finetune.model",
    "name",
    "output",
    "packages",
    "resume",
    "seed",
)
CHANGEABLE = ("rounds", "launch")
"""Settings that may differ when the loop goes on: they decide how far it goes, or where, but not what comes out."""


@dataclass(frozen=True, kw_only=True)
class ActiveSettings:
    """What is chosen from, how, and how it is labelled and trained on.

    Attributes:
        output: Folder of everything; given again, the loop goes on where it was stopped.
        pool: Structures to choose from, files as of `eqff.data.reading.read_frames`; None with ``simulate``.
        simulate: Settings of a simulation (`eqff.simulation.settings`) that makes a pool with the model of the round
            before; None with ``pool``.
        held_back: Labelled structures for validation and calibration; they are never chosen.
        test: Labelled test sets by name.
        initial: Labelled structures to begin with; None to label some of the pool that are drawn at random.
        label: Command that labels ``{input}`` to ``{output}``; None where the pool has labels, to look them up there.
        first: Structures of the first round, if there is no ``initial``.
        count: Structures of every later round.
        rounds: Trainings, the first one included.
        strategy: How structures are chosen, see `eqff.active.strategies`.
        clusters: How many, for the strategy "worst_clusters".
        committee: Models in each round; one has a last-layer estimate instead of a spread.
        samples: Draws of a last-layer estimate.
        begin: "scratch" for fresh weights in every round, "last" for those of the round before.
        train: Overrides of `eqff.train` (model, budget, ...).
        total_charge: e, for frames that state none.
        multiplicity: 2S+1, the same.
        seed: Of the first draw and of the members, which have seed, seed + 1...
        launch: Where trainings and labellings run, see `Launch`.
        packages: Your own packages whose parts the models may use.

    Raises:
        ConfigError: Settings that can't be, by themselves or together.
    """

    output: str
    held_back: Paths
    pool: Paths | None = None
    simulate: Mapping[str, Any] | None = None
    test: Mapping[str, Paths] = field(default_factory=dict)
    initial: Paths | None = None
    label: str | None = None
    first: Count = 100
    count: Count = 100
    rounds: Count = 5
    strategy: Literal["uncertain_diverse", "uncertain", "diverse", "worst_clusters", "random"] = "uncertain_diverse"
    clusters: Count = 8
    committee: Count = 1
    samples: Count = 16
    begin: Literal["scratch", "last"] = "scratch"
    train: Sequence[str] = ()
    total_charge: float | None = None
    multiplicity: Multiplicity | None = None
    seed: Seed = 0
    launch: Mapping[str, Any] = field(default_factory=dict)
    packages: Sequence[str] = ()

    def __post_init__(self) -> None:
        require_writable(self.output)
        settings(Launch, self.launch, "launch")
        for text in self.train:
            _check_override(text)
        if (self.pool is None) == (self.simulate is None):
            raise ConfigError("Give either pool=FILE to choose from, or simulate.structure=FILE to make structures.")
        if self.simulate is not None:
            _check_exploration(self)
        if self.label is not None and not ("{input}" in self.label and "{output}" in self.label):
            raise ConfigError(
                f"label: '{self.label}' must name {{input}} and {{output}}, for example "
                '"python tools/make_labels.py {input} {output} --method gfn2".'
            )

    @property
    def reading(self) -> dict[str, Any]:
        """What files are read with."""
        return {"total_charge": self.total_charge, "multiplicity": self.multiplicity}

    @property
    def launching(self) -> Launch:
        """How commands are run."""
        return settings(Launch, self.launch, "launch")

    def decisive(self) -> dict[str, Any]:
        """The settings that decide what comes out, as plain values."""
        return {name: value for name, value in asdict(self).items() if name not in (*CHANGEABLE, "output")}


def _check_override(text: str) -> None:
    key, equals, _ = text.lstrip("+~").partition("=")
    if key in _OF_THE_LOOP or key.startswith("data.test.") or not (equals or text.startswith("~")):
        raise ConfigError(
            f"train: '{text}' can't be given there: it must be KEY=VALUE, and {', '.join(_OF_THE_LOOP)} are the loop's."
        )


def _check_exploration(chosen: ActiveSettings) -> None:
    """Raises ConfigError if a loop that simulates lacks what a pool would give."""
    from eqff.simulation import SimulationSettings

    settings(SimulationSettings, chosen.simulate or {}, "simulate")
    for name, remedy in (("initial", "labelled structures to begin with"), ("label", "the command that labels")):
        if getattr(chosen, name) is None:
            raise ConfigError(f"{name} is missing: a loop that simulates needs {remedy}.")
