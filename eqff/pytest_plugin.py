"""Tells pytest the marks that `eqff.testing` uses, so that test suites of other packages know them too."""

from __future__ import annotations

from typing import Any


def pytest_configure(config: Any) -> None:
    """Pytest's hook; it finds this module by its entry point."""
    config.addinivalue_line("markers", "slow: takes minutes; leave out with -m 'not slow'")
