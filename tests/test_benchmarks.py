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

import conditional  # noqa: E402
import density_step  # noqa: E402
import fit_vs_em  # noqa: E402
import panels  # noqa: E402
import scale_out  # noqa: E402
import starts  # noqa: E402

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


def test_starts_are_judged_on_new_rows(monkeypatch, capsys):
    """Nine kinds of rows of the moments that they claim, and a run to the line of JSON."""
    for kind in starts.KINDS:
        train, test = starts.mixture(kind, 3, 4, seed=1, rows=500, held_out=600)
        assert train.shape == (500, 4) and test.shape == (600, 4) and np.all(np.isfinite(test)), kind
        assert not np.allclose(train[:100], test[:100])
    train, _ = starts.mixture("axis", 3, 4, seed=1, rows=30_000)
    np.testing.assert_allclose(np.cov(train.T), np.diag([1 + 64 * 2 / 3, 1, 1, 1]), atol=0.6)
    monkeypatch.setattr(starts, "SIZES", ((2, 2),))
    monkeypatch.setattr(sys, "argv", ["x", "--seeds", "1", "--rows", "500", "--kinds", "blobs", "line"])
    assert not starts.main()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["fits"] == 2
    monkeypatch.setattr(starts, "difference", lambda *_: -0.03)
    assert starts.main()


def test_scale_out_runs_to_its_result(tmp_path):
    scale_out.write_shards(tmp_path, 50_000)
    result = scale_out.run(tmp_path, 3, 1)
    assert result["rows"] == 50_000 and result["batch"] == 5000 and result["workers"] == 1
    assert result["sums_bytes"] == 8 * (3 * (1 + 63 + 63**2) + 3) and result["dead"] == []
    assert 0 < result["grown_mib"] < result["peak_mib"] and result["over_two_products"] > 1
    first, *_, last = [loss for _, loss in result["held_out"]]
    assert len(result["held_out"]) == 10 and last < first
    with pytest.raises(ValueError, match="rows: expected a multiple of 5,000, got 50,001"):
        scale_out.write_shards(tmp_path, 50_001)


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


GIVEN = {"x_train": ROWS, "y_train": ROWS[:, :2], "x_test": ROWS[:9], "y_test": ROWS[:9, :2]}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y_train": ROWS[:8, :2]}, r"y_train: expected shape \(300, 2\), got \(8, 2\)"),
        ({"y_test": ROWS[:9]}, r"y_test: expected shape \(9, 2\), got \(9, 3\)"),
        ({"x_test": np.full((9, 3), np.inf)}, "x_test: expected finite numbers, got NaN or infinity"),
        ({"x_train": ROWS[..., np.newaxis]}, r"x_train: expected \[N, width\], got shape \(300, 3, 1\)"),
        ({"y_test": None}, r"data: expected the arrays x_train, y_train, x_test, y_test, got none named \['y_test'\]"),
    ],
)
def test_bad_pairs_of_x_and_y_are_named(tmp_path, changed, message):
    arrays = {name: array for name, array in (GIVEN | changed).items() if array is not None}
    np.savez(tmp_path / "pairs.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        conditional.load(tmp_path / "pairs.npz")


def test_pairs_with_one_output_are_read_as_a_column(tmp_path):
    np.savez(tmp_path / "pairs.npz", **GIVEN | {"y_train": ROWS[:, 0], "y_test": ROWS[:9, 0]})
    assert [array.shape for array in conditional.load(tmp_path / "pairs.npz")] == [(300, 3), (300, 1), (9, 3), (9, 1)]


def test_the_arms_truth_is_a_density_and_knows_its_elbows():
    rng = np.random.default_rng(0)
    x, y = conditional.arm(2, 40, rng)
    coarse, fine = conditional.arm_truth(x, y), conditional.arm_truth(x, y, (600, 481))
    np.testing.assert_allclose(coarse, fine, atol=0.02)
    _, weight = conditional.arm_truth(np.array([[1.2, 0.6], [1.2, -0.6]]), np.zeros((2, 2)))
    assert weight[0] > 0.7 and weight.sum() == pytest.approx(1)  # mirrored hands, mirrored elbows


def test_rows_to_stop_on_are_apart_and_copies_of_a_row_are_together():
    rng = np.random.default_rng(0)
    for n, copies in ((300, 1), (150, 2), (5, 20)):
        x = np.tile(rng.normal(size=(n, 2)), (copies, 1))
        parts = conditional.folds(x, x[:, :1], rng)
        assert len(parts) == conditional.NETWORKS and len(np.unique(np.concatenate(parts))) == sum(map(len, parts))
        assert all(0.07 * len(x) < len(part) < 0.13 * len(x) for part in parts)
        if n > 5:
            assert all(np.array_equal(np.bincount(part % n, minlength=n) % copies, np.zeros(n)) for part in parts)


def test_constant_columns_are_left_out_and_units_counted(capsys):
    rows = 1e6 + np.random.default_rng(0).normal(size=(500, 3)) * [1e-3, 0, 10]
    train, test, unit = conditional.standard(rows, rows[:5], "y_train")
    assert train.shape == (500, 2) and test.shape == (5, 2) and "y_train: left out" in capsys.readouterr().out
    assert np.abs(train.mean(axis=0)).max() < 1e-6 and unit == pytest.approx(np.log(1e-2), abs=0.2)
    with pytest.raises(ValueError, match="y_train: expected a column that varies, got constant ones"):
        conditional.standard(rows[:, 1:2], rows[:, 1:2], "y_train")


def test_few_rows_with_copies_constants_and_tiny_units_get_a_line_each(monkeypatch, capsys):
    monkeypatch.setattr(conditional, "STEPS", 20)
    rng = np.random.default_rng(0)
    x = np.concatenate([1e-6 * rng.normal(size=(600, 1)), np.ones((600, 1))], axis=1)
    x = np.concatenate([x, x[:, :1]], axis=1)  # the first column twice
    y = 1e6 * x[:, :1] * [1, -2, 3] + 0.1 * rng.normal(size=(600, 3)) + 1e6
    judged = conditional.run("rows.npz", (x[:100], y[:100], x[100:], y[100:]), 0)
    assert len(judged) == 6 and all(np.isfinite(log_prob).all() for log_prob in judged.values())
    truth = 3 * np.log(10 / np.sqrt(2 * np.pi)) - 1.5
    assert judged[conditional.LINEAR].mean() == pytest.approx(truth, abs=0.2)
    assert judged["4 networks, full"].mean() > truth - 0.3
    assert sum("minus the line's" in line for line in capsys.readouterr().out.splitlines()) == 6
