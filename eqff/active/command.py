"""The command of the active-learning loop: ``python -m eqff.active`` or ``eqff-active``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omegaconf import DictConfig

if TYPE_CHECKING:
    from eqff.active.course import Course


def learn(cfg: DictConfig) -> Course:
    """Runs the loop, or goes on with it; progress goes to the terminal.

    Args:
        cfg: As composed from ``conf/commands/active.yaml``.

    Raises:
        EqffError: Config or data can't be used as they are, a labeller or a training failed.
    """
    from rich.console import Console

    from eqff.active.course import write_course
    from eqff.active.loop import ActiveLoop
    from eqff.active.settings import ActiveSettings
    from eqff.command_line.trained_model import plain_settings
    from eqff.config import settings

    values = plain_settings(cfg)
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    loop = ActiveLoop(settings(ActiveSettings, values, ""), console.print)
    return write_course(loop.run(), loop.folder)


def _from_command_line(cfg: DictConfig) -> None:
    from rich.console import Console

    course = learn(cfg)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(course.table())
    for path in course.files:
        console.print(str(path))


def main() -> None:
    """The command."""
    from eqff.command_line.run import run_command

    run_command(_from_command_line, "active", folder="commands")
