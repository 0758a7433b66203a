"""W&B's sweep from the same command line, given to W&B's own code that makes the agents' commands of it."""

import random

import pytest
import yaml

from eqff.errors import ConfigError
from eqff.sweep import sweep
from eqff.sweeps.planning import composed
from eqff.sweeps.settings import SweepSettings
from eqff.sweeps.space import read_space
from eqff.sweeps.wandb_file import wandb_sweep
from eqff.tracking.workspace import make_workspace


def test_agents_get_commands_that_can_be_trained(tmp_path):
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    argv = ["data.path='a b.xyz'", "model=minimal", "seed=0,1", "data.labels=[energy],[energy,forces]"]
    argv += ["training.optimizer.lr=tag(log,interval(1e-3,1e-1))", "model.backbone.channels=int(interval(4,8))"]
    file = tmp_path / "sweep.yaml"
    sweep([*argv, "sweep.search=tpe", "sweep.trials=9", "sweep.pruner=hyperband", f"sweep.wandb={file}"])
    content = utils.load_sweep_config(str(file))
    assert content == yaml.safe_load(file.read_text())
    assert content["method"] == "bayes" and content["run_cap"] == 9 and content["project"] == "eqff"
    assert content["metric"] == {"name": "val/loss", "goal": "minimize"}
    assert content["early_terminate"]["type"] == "hyperband"

    rng = random.Random(0)
    chosen = {
        key: {"value": rng.choice(p["values"]) if "values" in p else p["min"]}
        for key, p in content["parameters"].items()
    }
    arguments = utils.create_sweep_command_args({"args": chosen})["args_no_hyphens"]
    start, program, *middle, last = content["command"][2:]
    assert (start, program, last) == ("-m", "${program}", "${args_no_hyphens}") and content["program"] == "eqff.train"
    config = composed([*middle, *arguments])
    assert config["data"]["path"] == "a b.xyz" and config["tracking"]["mode"] == "online"
    assert config["seed"] in (0, 1) and config["training"]["optimizer"]["lr"] == 1e-3
    assert config["data"]["labels"] in (["energy"], ["energy", "forces"])


@pytest.mark.parametrize(
    ("interval", "kind"),
    [
        ("interval(1,9)", "uniform"),
        ("tag(log,interval(1,9))", "log_uniform_values"),
        ("int(interval(1,9))", "int_uniform"),
        ("int(tag(log,interval(1,9)))", "q_log_uniform_values"),
    ],
)
def test_intervals_are_drawn_as_they_are_meant(interval, kind):
    content = wandb_sweep(read_space([f"seed={interval}"]), SweepSettings(search="random", trials=2), "val/loss", 9)
    found = content["parameters"]["seed"]
    assert (found["distribution"], found["min"], found["max"]) == (kind, 1, 9)


def test_a_wrong_value_is_told_before_the_file_is_written(tmp_path):
    with pytest.raises(ConfigError, match="seed is -1"):
        sweep(["data.path=a", "model=minimal", "seed=0,-1", f"sweep.wandb={tmp_path}/sweep.yaml"])
    assert not (tmp_path / "sweep.yaml").exists()


def test_a_view_has_a_panel_for_each_error_its_course_and_its_cost():
    pytest.importorskip("wandb_workspaces")
    metrics, units = ["test/forces_mae", "far/forces_mae"], {"test/forces_mae": "meV/Å", "val/forces_mae": "meV/Å"}
    view = make_workspace("team/project", "Forces", metrics, units)
    errors, course, cost, _ = view.sections
    assert (view.entity, view.project, view.name) == ("team", "project", "Forces")
    assert [panel.metrics for panel in errors.panels] == [["test/forces_mae"], ["far/forces_mae"]]
    assert [(panel.x, panel.y) for panel in course.panels] == [
        (clock, ["val/forces_mae"]) for clock in ("epoch", "cpu_seconds", "wall_seconds")
    ]
    assert errors.panels[0].title_x == "MAE (meV/Å)" and len(cost.panels) == 4


@pytest.mark.parametrize("axis", ["training.losses.energy.weight=1,10", "training/losses=energy,energy_forces"])
def test_a_search_does_not_compare_sums_of_other_losses(axis):
    """Whoever weighs errors less has the smaller loss: such a search would end at the smallest weights."""
    settings = {"search": "tpe", "trials": 3}
    with pytest.raises(ConfigError, match="val/loss is another quantity in each run.*sweep.metric=val/forces_mae"):
        wandb_sweep(read_space([axis]), SweepSettings(**settings), "val/loss", 10)
    wandb_sweep(read_space([axis]), SweepSettings(**settings, metric="val/forces_mae"), "val/loss", 10)
    wandb_sweep(read_space(["seed=0,1"]), SweepSettings(**settings), "val/loss", 10)
