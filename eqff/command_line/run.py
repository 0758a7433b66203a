"""What the commands share: reading the config, and errors as one message without a traceback."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from eqff.command_line.help_pages import help_page
from eqff.command_line.override_errors import first_lines
from eqff.command_line.overrides import HYDRA_VERSION_BASE, check_command_line, is_setting, open_override, quoted
from eqff.config import config_directory
from eqff.errors import EqffError


def run_command(
    task: Callable[[DictConfig], Any],
    config_name: str,
    argv: Sequence[str] | None = None,
    folder: str = "",
    prepare: Callable[[Sequence[str]], list[str]] = list,
) -> None:
    """Runs a command: composes its config from the command line and hands it to ``task``.

    An `EqffError`, a wrong override or a missing value ends the process with exit code 1 and one message on stderr.
    Anything else is a bug and keeps its traceback, as everything does with ``HYDRA_FULL_ERROR=1``.

    Args:
        task: Gets the composed config.
        config_name: Of the primary config, without suffix.
        argv: Arguments; by default those of the process. ``--help`` prints the settings, ``--help GROUP`` those of one.
        folder: In `eqff.config.config_directory`, of the primary config and the groups it can choose from; a command
            can't have a plain setting with the name of a group beside its config.
        prepare: From arguments to those that the config is composed from.
    """
    directory = config_directory() / folder
    argv = [quoted(open_override(text)) for text in (sys.argv[1:] if argv is None else argv)]
    argv.sort(key=is_setting)  # Hydra takes options such as --multirun and --config-dir before all settings only
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        _hydra_main(task, directory, config_name, prepare(argv))
        return
    try:
        if {"-h", "--help"} & set(argv):
            print(help_page(directory, config_name, [text for text in argv if text[0] != "-" and "=" not in text]))
            return
        argv = prepare(argv)
        check_command_line(directory, config_name, argv)
        _hydra_main(lambda cfg: without_traceback(task, cfg), directory, config_name, argv)
    except EqffError as error:
        _leave(str(error))


def _hydra_main(task: Callable[[DictConfig], Any], directory: Path, config_name: str, argv: Sequence[str]) -> None:
    sys.argv = [sys.argv[0], *argv]  # the only way in which Hydra takes them
    hydra.main(version_base=HYDRA_VERSION_BASE, config_path=str(directory), config_name=config_name)(task)()


def run_on_arguments(task: Callable[[Sequence[str]], int], help_text: str, argv: Sequence[str] | None = None) -> None:
    """Runs a command that reads its arguments itself; errors end it as in `run_command`.

    Args:
        task: Gets the arguments; returns the exit code of the process.
        help_text: Printed on ``--help``, and where there are no arguments.
        argv: Arguments; by default those of the process.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv or {"-h", "--help"} & set(argv):
        print(help_text)
        return
    code = without_traceback(task, argv)
    if code:
        sys.exit(code)


def without_traceback(task: Callable[[Any], Any], argument: Any) -> Any:
    """Calls ``task`` with its argument; what a user can mend ends the process with one message, as in `run_command`."""
    # what other packages say when they are imported; users see it from torch 2.15 on
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
    try:
        return task(argument)
    except EqffError as error:
        return _leave(str(error))
    except MissingMandatoryValue as error:
        return _leave(f"{error.full_key} is missing: give it as {error.full_key}=...")
    except OmegaConfBaseException as error:
        return _leave(f"{error.full_key}: {first_lines(error)}" if error.full_key else first_lines(error))
    except (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if error.filename is None:  # not about a file that a user named
            raise
        return _leave(f"'{error.filename}': {error.strerror}. Check the path and the rights to it.")
    except KeyboardInterrupt:
        return _leave("Stopped.", code=130)


def _leave(message: str, code: int = 1) -> None:
    print(f"eqff: {message}", file=sys.stderr, flush=True)
    sys.exit(code)
