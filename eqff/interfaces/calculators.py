"""ASE calculators of other packages, named in a config or given as they are, and how they are told charge and spin."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from eqff.errors import ConfigError
from eqff.packages import allow, allowed_packages

TARGET = "_target_"
Spec = Mapping[str, Any] | str
"""``{_target_: package.module.Name, argument: value, ...}``, or the target alone; ``a.b:Name`` means ``a.b.Name``."""

_NEEDED = ("energy", "forces")
_STATE = {"total_charge": ("charge", "total_charge"), "multiplicity": ("multiplicity", "mult")}
"""Settings by which calculators take the total charge in e and 2S+1."""

_REFUSALS = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError),
    *(LookupError, OSError, RuntimeError, TypeError, ValueError),
)
"""What packages raise on arguments that they can't use."""

_NO_RESULT = ("command", "device", "directory", "label", "logfile", "txt", "verbose", "verbosity")
"""Arguments that don't change what is computed, and so are no part of a method's name."""


@dataclass(frozen=True)
class NamedCalculator:
    """An ASE calculator and what it is.

    Attributes:
        calculator: Any object with ASE's ``get_property`` and ``implemented_properties``; energies in eV, forces in
            eV/Å, as everywhere in ASE.
        name: Of its method with all settings that matter, for tables and model files; None where nobody has said.
        dtype: Torch's default floating dtype that it works under: some set it for the whole process when they are made.
    """

    calculator: Any
    name: str | None
    dtype: torch.dtype

    @property
    def title(self) -> str:
        """For messages: the name, else the class."""
        return self.name or type(self.calculator).__name__


def named_calculator(given: Any, packages: Sequence[str] = ()) -> NamedCalculator:
    """A calculator from a config, or one that is at hand.

    Args:
        given: `Spec`; or an ASE calculator.
        packages: Whose code may be called, by the name of the package; eqff's own always may.

    Raises:
        ConfigError: A package that is not allowed or not installed, arguments that don't fit, or no calculator.
    """
    if isinstance(given, (str, Mapping)):
        return build_calculator(given, packages)
    return _checked(NamedCalculator(given, None, torch.get_default_dtype()))


def build_calculator(spec: Spec, packages: Sequence[str] = ()) -> NamedCalculator:
    """Makes the calculator that a config names. This runs code of its package, which has to be allowed by name.

    Args:
        spec: What to call, and with which arguments; sections with a ``_target_`` among them are made first.
        packages: Whose code may be called.

    Raises:
        ConfigError: A package that is not allowed or not installed, arguments that don't fit, or no calculator.
    """
    for package in packages:
        allow(package)
    section = {TARGET: spec} if isinstance(spec, str) else spec
    before = torch.get_default_dtype()
    try:
        made = _made(section, "calculator")
        return _checked(NamedCalculator(made, method_name(section), torch.get_default_dtype()))
    finally:
        torch.set_default_dtype(before)


def method_name(spec: Spec) -> str:
    """What a config's calculator computes, in one line: ``tblite.ase.TBLite(method=GFN1-xTB)``."""
    if isinstance(spec, str):
        return spec.replace(":", ".")
    settings = {name: value for name, value in spec.items() if name != TARGET and name not in _NO_RESULT}
    shown = ", ".join(f"{name}={_text(value)}" for name, value in sorted(settings.items()))
    target = str(spec.get(TARGET, "")).replace(":", ".")
    return f"{target}({shown})" if shown else target


def state_settings(calculator: Any) -> dict[str, str]:
    """The settings by which a calculator takes total charge and multiplicity, by field; empty where it has none.

    Those are meant that ASE knows a calculator's settings by, ``default_parameters`` and ``set``.
    """
    if not hasattr(calculator, "set"):
        return {}
    known = {*getattr(calculator, "default_parameters", ()), *(getattr(calculator, "parameters", None) or ())}
    found = {field: next((name for name in names if name in known), None) for field, names in _STATE.items()}
    return {field: name for field, name in found.items() if name is not None}


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Within it, torch makes floating tensors of this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _made(section: Mapping[str, Any], place: str) -> Any:
    function = _callable(section.get(TARGET), place)
    arguments = {name: _argument(value, f"{place}.{name}") for name, value in section.items() if name != TARGET}
    try:
        return function(**arguments)
    except _REFUSALS as error:
        raise ConfigError(
            f"{place}: {section[TARGET]} can't be made with {', '.join(arguments) or 'no arguments'}: "
            f"{type(error).__name__}: {error}. HYDRA_FULL_ERROR=1 shows where."
        ) from error


def _argument(value: Any, place: str) -> Any:
    if isinstance(value, Mapping) and TARGET in value:
        return _made(value, place)
    if isinstance(value, (list, tuple)):
        return [_argument(entry, f"{place}.{index}") for index, entry in enumerate(value)]
    return value


def _callable(target: Any, place: str) -> Callable[..., Any]:
    if not isinstance(target, str) or "." not in target.replace(":", "."):
        raise ConfigError(
            f"{place} has no '_target_' that names a class or function, such as {{_target_: tblite.ase.TBLite, "
            "method: GFN2-xTB}."
        )
    module, _, name = target.replace(":", ".").rpartition(".")
    package = module.split(".")[0]
    if package not in allowed_packages():
        raise ConfigError(
            f"{place}: '{target}' is code of the package '{package}', which is not allowed. If you trust it, give "
            f"packages=[{package}]."
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{place}: there is no '{target}' here ({error}). Is '{package}' installed?") from error
    if not callable(found):
        raise ConfigError(f"{place}: '{target}' is no class or function that makes a calculator.")
    return found


def _checked(found: NamedCalculator) -> NamedCalculator:
    calculator = found.calculator
    if not hasattr(calculator, "get_property"):
        raise ConfigError(f"{found.title} is no ASE calculator: it has no get_property.")
    lacking = [name for name in _NEEDED if name not in getattr(calculator, "implemented_properties", ())]
    if lacking:
        raise ConfigError(f"{found.title} gives no {' and no '.join(lacking)}, and both energy and forces are needed.")
    return found


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return method_name(value) if TARGET in value else str(dict(value))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
