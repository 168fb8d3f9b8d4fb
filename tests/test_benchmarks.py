"""The benchmarks: what bad input gets, and that each runs to its line of JSON at a small size."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient.exceptions import CellExecutionError

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarks"))

import density_step  # noqa: E402
import fit_vs_em  # noqa: E402
import panels  # noqa: E402

ROWS = np.random.default_rng(0).normal(size=(300, 3))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train": ROWS}, r"data: expected the arrays 'train' and 'test', got \['train'\]"),
        ({"train": ROWS, "test": np.full((2, 3), np.nan)}, "test: expected finite numbers, got NaN or infinity"),
        ({"train": ROWS, "test": ROWS[:, :2]}, "test: expected D = 3 as in train, got 2"),
        ({"train": ROWS[:, 0], "test": ROWS}, r"train: expected numbers \[N, D\], got float64 of shape \(300,\)"),
        ({"train": ROWS.astype(str), "test": ROWS}, r"train: expected numbers \[N, D\], got <U"),
        ({"train": ROWS.astype(object), "test": ROWS}, "data: expected an .npz file of numbers"),
    ],
)
def test_bad_npz_is_named(tmp_path, arrays, message):
    np.savez(tmp_path / "rows.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        fit_vs_em.load_rows(tmp_path / "rows.npz")


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(ValueError, match="data: expected an .npz file, found none at"):
        fit_vs_em.load_rows(tmp_path / "rows.npz")
    (tmp_path / "text.npz").write_text("no numbers")
    with pytest.raises(ValueError, match="data: expected an .npz file of numbers"):
        fit_vs_em.load_rows(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", ROWS)
    with pytest.raises(ValueError, match="data: expected the arrays 'train' and 'test'"):
        fit_vs_em.load_rows(tmp_path / "one.npy")


def test_too_many_rows_of_the_photographs_are_refused():
    with pytest.raises(ValueError, match="rows: expected at most .* got 999999"):
        fit_vs_em.photograph_rows(999_999)


def test_fit_vs_em_runs_on_a_users_file(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 3)) * [1, 10, 0.1] + 20 * rng.integers(0, 2, size=(3000, 1)) + 100
    np.savez(tmp_path / "rows.npz", train=rows[:2000], test=rows[2000:])
    monkeypatch.setattr(sys, "argv", ["x", "--data", str(tmp_path / "rows.npz"), "--components", "2", "--passes", "20"])
    fit_vs_em.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["rows"] == 2000 and abs(result["gradient_held_out"] - result["em_held_out"]) < 0.2
    assert result["reached"] and result["stepwise_held_out"] > result["em_held_out"] - 0.02
    assert result["times_faster"] == pytest.approx(result["em_seconds"] / result["stepwise_seconds"], rel=0.2, abs=0.1)


def test_density_step_times_the_same_density():
    steps = {variant: density_step.make_step(variant, 50, 2, 4) for variant in density_step.VARIANTS}
    np.testing.assert_allclose(steps["fast"](), steps["tfp"](), atol=1e-4)
    assert np.isfinite(steps["stepwise"]()) and steps["floor"]().shape == (4, 8)
    for variant in ("fast, D/2", "stepwise"):
        step, floor = density_step.times(variant, 50, 2, 4, 3)
        assert len(step) == len(floor) == 3 and min(step) > 0 and min(floor) > 0


def test_suite_has_rows_of_every_kind():
    for name, (make, k) in fit_vs_em.SUITE.items():
        train, test = make(500)
        assert len(train) > k and train.shape[1] == test.shape[1] and np.all(np.isfinite(train)), name
    centred, mapped = (fit_vs_em.photograph_rows(500, kind)[0].astype("d") for kind in ("pixels", "mapped"))
    ratio = np.linalg.cond(np.cov(mapped.T)) / np.linalg.cond(np.cov(centred.T))
    assert ratio > 100  # the map is far from a rotation
    assert fit_vs_em.reached_at([(1, 0.0), (2, 3.0), (3, 4.0)], 2.5) == 2 and not fit_vs_em.reached_at([(1, 0.0)], 1)


def test_peak_memory_is_that_of_the_child_and_not_of_its_parent():
    folder = str(Path(density_step.__file__).parent)
    code = f"import sys; sys.path.insert(0, {folder!r}); import density_step as d; a = d.peak_mib(); "
    code += "rows = [b'x' * 2**20 for _ in range(300)]; print(a, d.peak_mib())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(float, child.stdout.split())
    assert before < density_step.peak_mib() / 2 and 290 < after - before < 400


PANEL = """
from helpers import plotting
import ipywidgets as widgets
import matplotlib.pyplot as plt


def draw(height, kind):
    assert height < {limit}
    return plt.figure(figsize=(1, 1)), "Nothing."


plotting.live(
    draw,
    height=widgets.FloatSlider(0.5, min=0, max=1, step=0.25, description="height"),
    kind=widgets.ToggleButtons(options=["a", "b"], description="kind"),
)
"""


@pytest.mark.parametrize("limit", [2, 1])
def test_panels_are_moved_through_all_their_values_and_an_error_ends_the_run(tmp_path, limit):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(PANEL.format(limit=limit), metadata={"tags": ["widget"]})]
    nbformat.write(notebook, tmp_path / "panel.ipynb")
    if limit == 1:
        with pytest.raises(CellExecutionError, match="AssertionError"):
            panels.measure(tmp_path / "panel.ipynb")
    else:
        rows = panels.measure(tmp_path / "panel.ipynb")
        assert [row[:2] for row in rows] == [["height", 6], ["kind", 2]]
        assert all(0 < median <= slowest for _, _, median, slowest in rows)
