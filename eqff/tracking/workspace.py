"""A W&B page made from code: the panels of a comparison, saved as a view of a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eqff.errors import ConfigError

_CLOCKS = {"epoch": "epoch", "cpu_seconds": "CPU time (s)", "wall_seconds": "wall time (s)"}
_COSTS = {"cost/cpu_seconds": "CPU time (s)", "cost/parameters": "parameters"}
_MOST_RUNS = 50


def make_workspace(path: str, name: str, metrics: Sequence[str], units: Mapping[str, str]) -> Any:
    """A view of a project: test errors and cost of groups of runs, and the course of their trainings.

    Nothing is sent: ``save()`` of what is returned does that.

    Args:
        path: ``entity/project``.
        name: Of the view.
        metrics: Of test sets, by full name.
        units: Of metrics.

    Returns:
        A ``wandb_workspaces.workspaces.Workspace``.

    Raises:
        ConfigError: wandb-workspaces is not installed.
    """
    ws, wr = _packages()
    entity, _, project = path.removeprefix("wandb:").partition("/")
    validated = list(dict.fromkeys(f"val/{metric.partition('/')[2]}" for metric in metrics))
    sections = [
        ws.Section(name="Errors on test sets", panels=[_bars(wr, m, units) for m in metrics], is_open=True),
        ws.Section(name="Course of training", panels=_courses(wr, validated, units), is_open=True),
        ws.Section(name="Errors against cost", panels=_scatters(wr, metrics, units), is_open=True),
        ws.Section(name="Settings", panels=[wr.RunComparer(diff_only="split")]),
    ]
    runs = ws.RunsetSettings(
        groupby=[ws.Metric("Group")],
        pinned_columns=[f"summary:{metric}" for metric in metrics],
    )
    settings = ws.WorkspaceSettings(max_runs=_MOST_RUNS)
    return ws.Workspace(
        entity=entity, project=project, name=name, sections=sections, settings=settings, runset_settings=runs
    )


def save_workspace(path: str, name: str, metrics: Sequence[str], units: Mapping[str, str]) -> str:
    """Saves the view of `make_workspace`; its address.

    Raises:
        ConfigError: The package is missing, or W&B can't be reached or doesn't know the project.
    """
    workspace = make_workspace(path, name, metrics, units)
    import wandb

    try:
        workspace.save()
    except (wandb.Error, ValueError, OSError) as error:  # requests' errors are OSErrors
        text = " ".join(str(error).split())
        raise ConfigError(f"The view '{name}' of '{path}' can't be saved: {text} Log in with wandb login.") from error
    return str(workspace.url)


def _label(metric: str, units: Mapping[str, str]) -> str:
    unit = units.get(metric, "")
    return f"{metric.rpartition('_')[2].upper()} ({unit})" if unit else metric.rpartition("_")[2].upper()


def _title(metric: str) -> str:
    part, _, short = metric.partition("/")
    return f"{part}: {short.rpartition('_')[0].replace('_', ' ')}"


def _bars(wr: Any, metric: str, units: Mapping[str, str]) -> Any:
    return wr.BarPlot(
        title=_title(metric),
        metrics=[metric],
        title_x=_label(metric, units),
        groupby="Group",
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
    )


def _courses(wr: Any, metrics: Sequence[str], units: Mapping[str, str]) -> list[Any]:
    """One for each metric and clock, logarithmic, mean and spread of each group."""
    return [
        wr.LinePlot(
            title=_title(metric),
            x=clock,
            y=[metric],
            log_y=True,
            title_x=title,
            title_y=_label(metric, units),
            groupby="Group",
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            max_runs_to_show=_MOST_RUNS,
        )
        for metric in metrics
        for clock, title in _CLOCKS.items()
    ]


def _scatters(wr: Any, metrics: Sequence[str], units: Mapping[str, str]) -> list[Any]:
    return [
        wr.ScatterPlot(
            title=f"{_title(metric)}, {_label(metric, units)} over {title}",
            x=wr.SummaryMetric(cost),
            y=wr.SummaryMetric(metric),
            log_y=True,
        )
        for metric in metrics
        for cost, title in _COSTS.items()
    ]


def _packages() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise ConfigError(
            "A view of a W&B project needs wandb-workspaces, which is not installed: pip install 'eqff[workspace]'."
        ) from error
    return workspaces, reports
