"""Runs side by side: what differs, what may be compared, means and spreads, and every format of it."""

import csv
import json
import re
from io import StringIO
from math import inf, isfinite, nan
from statistics import fmean, stdev

import pytest
from changed_runs import setter
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from rich.console import Console

from eqff.comparison import Comparison, Spread, State, read_runs, write_comparison
from eqff.comparison.numbers import number, spread_text
from eqff.comparison.page import html_page
from eqff.comparison.settings import differing
from eqff.comparison.texts import markdown, rows_csv, runs_csv, terminal
from eqff.errors import ConfigError

FORCES = "far/forces_mae"
SEEDED = {0: 10.0, 1: 12.0, 2: 17.0}


@pytest.fixture
def study(copy):
    """Two schemes with three and two seeds; the second has no forces on "far" in one seed."""
    folders = [copy(f"a-{s}", config={"seed": s, "data.seed": s}, errors={FORCES: e}) for s, e in SEEDED.items()]
    other = {"name": "wide", "model.backbone.channels": 8}
    folders += [copy("b-0", config=other, errors={FORCES: 9.0})]
    folders += [copy("b-1", config=other | {"seed": 1}, errors={FORCES: None, "far/energy_per_atom_mae": 1.0})]
    return folders


def compared(*folders, **options):
    found = read_runs(*folders)
    return Comparison(found.runs, problems=found.problems, **options)


def group_of(*folders, **options):
    (group,) = compared(*folders, **options).groups
    return group


def cells(group, title):
    """The texts of a table by run and column, bold ones with an asterisk."""
    (table,) = [table for table in group.tables() if table.title == title]
    return {
        row[0].text: {name: cell.text + "*" * cell.best for name, cell in zip(table.columns, row, strict=True)}
        for row in table.rows
    }


def test_seeds_are_one_row_with_mean_and_spread(study):
    group = group_of(*study)
    assert [(row.label, len(row.runs)) for row in group.rows] == [("small", 3), ("wide", 2)]
    spread = group.rows[0].metric(FORCES)
    assert spread == Spread(fmean(SEEDED.values()), stdev(SEEDED.values()), 3)
    shown = cells(group, "Test set far")
    assert shown["small"]["forces MAE (meV/Å)"] == "13.0 ± 3.6" and shown["small"]["n"] == "3"
    assert shown["wide"]["forces MAE (meV/Å)"] == "9.000 (n=1)*"
    assert any("Missing in runs/b-1: far/forces_mae" in note for note in group.notes)
    assert group.differences == ()


def test_only_settings_that_differ_are_shown(study):
    shown = cells(group_of(*study), "Settings that differ")
    assert shown["small"] == {"run": "small", "model.backbone.channels": "4"}
    assert shown["wide"]["model.backbone.channels"] == "8"


def test_settings_that_an_older_version_did_not_have_are_its_defaults(trained, copy):
    """A run without a setting and one that has its default repeat each other; one that has another value doesn't."""

    newer, old = copy("new-0"), copy("old-1", config={"seed": 1}, errors={FORCES: 3.0})
    config = OmegaConf.load(old / "config.yaml")
    del config.data.charge_tolerance, config.tracking.artifacts
    OmegaConf.save(config, old / "config.yaml")
    other = copy("other", config={"data.charge_tolerance": 0.5}, errors={FORCES: 4.0})
    comparison = compared(newer, old, other)
    assert [len(row.runs) for row in comparison.groups[0].rows] == [2, 1]
    assert any("data.charge_tolerance (1)" in note and "defaults" in note for note in comparison.notes())


def test_other_seeds_can_be_named(study):
    assert len(group_of(*study, seeds=["seed", "data.seed", "model.backbone.channels"]).rows) == 1
    assert len(group_of(*study, seeds=["data.seed"]).rows) == 5


def test_one_table_for_each_value_of_a_key(study):
    by_width = compared(*study, by=["model.backbone.channels"])
    assert [group.title for group in by_width.groups] == ["model.backbone.channels: 4", "model.backbone.channels: 8"]
    by_section = compared(*study, by=["model"])
    assert [group.title for group in by_section.groups] == ["model: backbone.channels=4", "model: backbone.channels=8"]
    assert [len(group.runs) for group in by_section.groups] == [3, 2]
    assert len(compared(*study, by=["data", "name"]).groups) == 2 and len(compared(*study, by=["data"]).groups) == 1
    with pytest.raises(ConfigError, match="Did you mean 'model.backbone.channels'"):
        _ = compared(*study, by=["model.backbone.chanels"]).groups


def test_rows_are_sorted_and_those_without_a_number_come_last(study, copy):
    copied = copy("c-0", config={"name": "none", "dtype": "float64"}, errors={FORCES: None})
    rows = group_of(copied, *study, sort=FORCES).rows
    assert [row.label for row in rows] == ["wide", "small", "none"]
    broken = copy("d-0", config={"name": "broken", "dtype": "float64", "tf32": True}, errors={FORCES: float("nan")})
    for sources in ((broken, *study), (study[0], broken, *study[1:]), (*study, broken)):
        assert [row.label for row in group_of(*sources, sort=FORCES).rows] == ["wide", "small", "broken"]
    with pytest.raises(ConfigError, match="Rows can't be sorted by 'speed'"):
        _ = compared(*study, sort="speed").groups


def test_metrics_are_chosen_by_name_and_pattern(study):
    assert group_of(*study).metrics == ("far/energy_per_atom_mae", FORCES)
    assert group_of(*study, metrics=["forces_mae"]).metrics == ("val/forces_mae", FORCES)
    assert group_of(*study, metrics=["far/*_max"]).metrics == (
        "far/energy_max",
        "far/energy_per_atom_max",
        "far/forces_max",
    )
    with pytest.raises(ConfigError, match="No run has a metric 'force_mae'.*Did you mean 'forces_mae'"):
        compared(*study, metrics=["force_mae"])


def other_set(content):
    content["sets"]["far"]["frames"] += 1


def other_unit(content):
    content["units"]["forces"] = "eV/Å"


UNLIKE = {
    "training data": ({"data_report.json": setter("data_hash", value="f" * 64)}, "hash ffffffffffff"),
    "split": ({"splits.json": setter("val", value=[0])}, ""),
    "level of theory": ({"data_report.json": setter("reference_energies", "level_of_theory", value="PBE")}, "'PBE'"),
    "E0": ({"data_report.json": setter("reference_energies", "eV", "1", value=-13.6)}, "H -13.600000 eV"),
    "test set far": ({"data_report.json": other_set}, "7 frames"),
    "unit of far/forces_mae": ({"evaluation/far.json": other_unit}, "eV/Å"),
}


@pytest.mark.parametrize("what", UNLIKE)
def test_what_is_not_comparable_is_named_with_its_values(what, trained, copy):
    files, value = UNLIKE[what]
    odd = copy("odd", config={"name": "odd", "dtype": "float64"}, json_files=files, errors={FORCES: 0.1})
    group = group_of(trained, odd)
    texts = {difference.what: str(difference) for difference in group.differences}
    assert value in texts[what] and "odd" in texts[what] and "small" in texts[what]
    unranked = what in ("test set far", "unit of far/forces_mae")
    best = [cell.best for table in group.tables() for row in table.rows for cell in row]
    forces = cells(group, "Test set far").values()
    assert any(best) is (what != "test set far")
    assert any("*" in cell for row in forces for name, cell in row.items() if "forces" in name) is not unranked
    assert f"Not comparable: {what}" in markdown(compared(trained, odd))


def test_sums_of_other_losses_are_not_ranked(trained, copy):
    """Whoever weighs errors less has the smaller loss."""
    light = copy("light", config={"name": "light", "training.losses.energy.weight": 0.1}, errors={"val/loss": 0.01})
    group = group_of(trained, light, metrics=["val/loss", "val/forces_mae"])
    (found,) = [difference for difference in group.differences if difference.what == "losses"]
    assert "0.1 mae(energy)" in str(found) and "10 mae(energy)" in str(found)
    best = [name for row in cells(group, "Validation set").values() for name, text in row.items() if "*" in text]
    assert best and not any("loss" in name for name in best)
    same = group_of(trained, copy("same", config={"name": "same", "dtype": "float64"}), metrics=["val/loss"])
    assert not any(difference.what == "losses" for difference in same.differences)
    assert not any(difference.what == "losses" for difference in group_of(trained, light).differences)


@pytest.mark.parametrize(("change", "told"), [(1e-9, False), (3e-6, False), (2e-5, True)])
def test_fits_of_reference_energies_may_differ_in_their_last_digits(change, told, trained, copy):
    energy = json.loads((trained / "data_report.json").read_text())["reference_energies"]["eV"]["1"]
    shifted = setter("reference_energies", "eV", "1", value=energy + change)
    group = group_of(trained, copy("odd", config={"dtype": "float64"}, json_files={"data_report.json": shifted}))
    assert [difference.what for difference in group.differences] == ["E0"] * told


def test_unfinished_runs_are_marked_and_not_ranked(study, copy):
    stopped = copy(
        "stopped",
        config={"seed": 7},
        errors={FORCES: 0.001},
        json_files={"result.json": setter("interrupted", value=True)},
    )
    group = group_of(*study, stopped)
    row = group.rows[-1]
    assert row.label == "small (interrupted)" and row.state is State.INTERRUPTED
    assert "*" not in cells(group, "Test set far")[row.label]["forces MAE (meV/Å)"]
    assert any("is interrupted after 6 steps" in note for note in group.notes)


def test_a_copied_folder_does_not_make_a_spread_smaller(trained, copy):
    again = copy("again")
    changed = copy("changed", errors={FORCES: 1.0})
    group = group_of(trained, again, changed)
    assert [len(row.runs) for row in group.rows] == [2]
    assert any("a copy, left out" in note for note in group.notes)
    assert any("2 runs have the same seed" in note for note in group.notes)


def test_csv_holds_every_run_with_the_numbers_of_its_own_file(study):
    lines = list(csv.DictReader(StringIO(runs_csv(compared(*study)))))
    assert len(lines) == len(study)
    for line in lines:
        stored = json.loads(open(f"{line['source']}/result.json").read())["metrics"]
        for name, value in stored.items():
            column = next(key for key in line if key == name or key.startswith(f"{name} ("))
            assert float(line[column]) == value
    rows = list(csv.DictReader(StringIO(rows_csv(compared(*study)))))
    assert float(rows[0][f"{FORCES} deviation"]) == pytest.approx(stdev(SEEDED.values()))


def test_everything_is_written_and_the_page_needs_nothing_beside_it(study, tmp_path):
    files = write_comparison(compared(*study, by=["name"]), tmp_path / "out")
    assert set(files) == {"comparison.md", "comparison.html", "rows.csv", "runs.csv"}
    page = files["comparison.html"].read_text()
    assert "13.0 ± 3.6" in page and "name: wide" in page
    sources = re.findall(r"(?:src|href)='(?!#)([^']{0,30})", page)
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    text = files["comparison.md"].read_text()
    linked = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(linked) == len(sources) and all((tmp_path / "out" / path).is_file() for path in linked)
    kinds = ("learning_curves", "by_part", "forces_parity", "energy_per_atom_parity")
    assert all(any(kind in path for path in linked) for kind in kinds)


def test_cost_is_drawn_where_it_differs(study, tmp_path):
    cheap = {"budget": {"CPU seconds": {"total": 1e-3, "used": 5e-4}}}
    path = study[-2] / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | cheap))
    write_comparison(compared(*study), tmp_path)
    assert (tmp_path / "figures" / "accuracy_against_cost.png").is_file()


def test_text_in_names_stays_text(trained, copy):
    odd = copy("odd", config={"name": "<b>|[red]x[/red]", "dtype": "float64"})
    comparison = compared(trained, odd)
    page = html_page(comparison)
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert "<b>\\|" in markdown(comparison)
    console = Console(width=200, record=True, file=StringIO())
    console.print(terminal(comparison))
    assert "<b>|[red]x[/red]" in console.export_text()


def test_parts_are_compared_by_class_first():
    coulomb = {"_target_": "eqff.terms.Coulomb", "width": 1.0}
    base = {"terms": {"local": {"_target_": "eqff.terms.Local"}}}
    configs = [
        base,
        base | {"terms": base["terms"] | {"far": coulomb}},
        base | {"terms": base["terms"] | {"far": coulomb | {"width": 2.0}}},
        base | {"terms": base["terms"] | {"far": None}},
    ]
    assert differing(configs) == {"terms.far": ["–", "Coulomb(width=1)", "Coulomb(width=2)", "–"]}
    assert differing(configs[1:3]) == {"terms.far.width": ["1", "2"]}
    assert differing([configs[0], configs[3]]) == {}


@given(mean=st.floats(1e-3, 1e5), share=st.floats(1e-4, 0.5), count=st.integers(2, 9))
def test_written_spreads_can_be_read_back(mean, share, count):
    text = spread_text(Spread(mean, share * mean, count), count)
    shown, _, bound = text.partition(" ± <")
    if bound:  # smaller than half of the last digit that is shown
        assert share * mean < float(bound) and float(shown) == pytest.approx(mean, abs=float(bound))
        return
    shown, deviation = map(float, text.split(" ± "))
    assert shown == pytest.approx(mean, rel=6e-3, abs=0.05 * share * mean + 1e-9) or abs(shown - mean) <= share * mean
    assert deviation == pytest.approx(share * mean, rel=0.06, abs=6e-4 * mean)


@pytest.mark.parametrize("bad", [nan, inf])
def test_a_number_that_is_not_finite_has_no_spread(bad):
    """As the error of a seed whose predictions overflow."""
    spread = Spread.of([1.0, bad])
    assert not isfinite(spread.mean) and spread.count == 2
    assert spread_text(spread, 2) == f"{bad} ± nan"


@given(value=st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9))
def test_numbers_keep_their_digits(value):
    assert float(number(value)) == pytest.approx(value, rel=6e-4, abs=1e-300)
