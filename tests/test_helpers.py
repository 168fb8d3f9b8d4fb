"""Data, plotting, checks and runtime: known truths, what is drawn, and what bad input gets."""

import gc
import os
import random
import subprocess
import sys
import weakref
from importlib import metadata
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import skimage
import tensorflow as tf
from sklearn.datasets import load_sample_images

from helpers import data, plotting, runtime
from helpers.checks import check, exercise, fails_with
from helpers.layout import MixtureLayout


def test_two_blobs_have_the_truth_they_claim():
    blobs = data.load("two_blobs", seed=5, n=40_000)
    assert blobs.x.shape == (40_000, 2) and blobs.x.dtype == np.float32
    for k in range(2):
        mine = blobs.x[blobs.component == k]
        np.testing.assert_allclose(mine.mean(axis=0), blobs.loc[k], atol=0.03)
        np.testing.assert_allclose(np.cov(mine.T), blobs.covariance[k], atol=0.05)
    np.testing.assert_allclose(np.bincount(blobs.component) / 40_000, blobs.weights, atol=0.02)


@pytest.mark.parametrize(("k", "d"), [(1, 1), (3, 2), (5, 10)])
def test_correlated_mixture_has_the_truth_it_claims(k, d):
    sample = data.correlated_mixture(k, d, n=40_000, seed=2)
    assert sample.x.shape == (40_000, d) and sample.covariance.shape == (k, d, d)
    assert np.linalg.eigvalsh(sample.covariance).min() > 0
    np.testing.assert_allclose(sample.weights.sum(), 1)
    np.testing.assert_allclose(np.bincount(sample.component) / 40_000, sample.weights, atol=0.02)
    std = np.sqrt(np.diagonal(sample.covariance, axis1=1, axis2=2))
    assert 0.5 <= std.min() <= std.max() <= 1.5
    for j in range(k):
        mine = sample.x[sample.component == j]
        np.testing.assert_allclose(mine.mean(axis=0), sample.loc[j], atol=0.1)
        np.testing.assert_allclose(np.cov(mine.T).reshape(d, d), sample.covariance[j], atol=0.2)


def test_whole_numbers_are_pythons_and_numpys():
    runtime.set_seed(np.int64(3))
    assert data.two_blobs(n=np.int32(5)).x.shape == (5, 2) and MixtureLayout(np.int64(2), np.uint8(2)).params_size == 12
    for value in (True, np.True_, 2.0, "2", None):
        for call in (runtime.set_seed, lambda n: data.two_blobs(n=n), lambda k: MixtureLayout(k, 2)):
            with pytest.raises(ValueError, match="expected a whole number (of at least 1|from 0 to 4294967295), got"):
                call(value)


def test_means_lie_as_far_apart_as_asked():
    near, far = (data.correlated_mixture(3, 2, separation=s, seed=1) for s in (4.0, 40.0))
    np.testing.assert_allclose(far.loc, 10 * near.loc)
    many, weights = (getattr(data.correlated_mixture(200, 5, n=1, separation=4.0), part) for part in ("loc", "weights"))
    assert 3.5 < weights.max() / weights.min() <= 4
    apart = np.linalg.norm(many[:, np.newaxis] - many, axis=-1)[np.triu_indices(200, 1)]
    assert abs(np.sqrt(np.mean(apart**2)) - 4) < 0.3


def test_data_repeat_with_their_seed():
    for name in ("two_blobs", "correlated_mixture"):
        np.testing.assert_array_equal(data.load(name, seed=1).x, data.load(name, seed=1).x)
        assert np.any(data.load(name, seed=1).x != data.load(name, seed=2).x)


def test_penguins_are_the_published_ones():
    birds = data.penguins()
    assert birds.x.shape == (342, 2) and np.all(np.isfinite(birds.x))
    assert birds.species_names == ("Adelie", "Chinstrap", "Gentoo")
    assert np.bincount(birds.species).tolist() == [151, 68, 123]
    # Means of Gorman, Williams and Fraser's birds by species, as the package palmerpenguins documents them
    means = np.stack([birds.x[birds.species == s].mean(axis=0) for s in range(3)])
    np.testing.assert_allclose(means, [[38.79, 18.35], [48.83, 18.42], [47.50, 14.98]], atol=0.01)
    np.testing.assert_array_equal(birds.measurements[:, :2], birds.x)
    assert birds.measurement_names[:2] == birds.feature_names and birds.sex_names == ("female", "male")
    assert np.bincount(birds.sex + 1).tolist() == [9, 165, 168]
    for species in range(3):  # males are larger, in every species and every measurement
        female, male = (birds.measurements[(birds.species == species) & (birds.sex == s)].mean(axis=0) for s in (0, 1))
        assert np.all(female < male)
    # As palmerpenguins documents them: the mean mass of Adelie penguins, the mean flipper of all
    np.testing.assert_allclose(birds.measurements[birds.species == 0][:, 3].mean(), 3700.7, atol=0.1)
    np.testing.assert_allclose(birds.measurements[:, 2].mean(), 200.9, atol=0.1)


def test_photographs_are_those_of_the_wheels_in_luminance_and_in_colour():
    grey, colour = data.load("all_photographs"), data.all_photographs(colour=True)
    assert len(grey) == 19 and set(colour) < set(grey) and {"brick", "camera"} & set(colour) == set()
    sample = load_sample_images()
    packaged = dict(zip([Path(name).stem for name in sample.filenames], sample.images, strict=True))
    packaged |= {"astronaut": skimage.data.astronaut(), "camera": skimage.data.camera(), "moon": skimage.data.moon()}
    for name, picture in grey.items():
        assert picture.ndim == 2 and picture.dtype == np.float64 and 0 <= picture.min() < picture.max() <= 1
        if name in colour:
            assert colour[name].shape == (*picture.shape, 3)
            np.testing.assert_allclose(picture, skimage.color.rgb2gray(colour[name]), atol=5e-4)
        if name in packaged:
            np.testing.assert_allclose(colour.get(name, picture), packaged[name] / 255)
    for name, picture in data.photographs()._asdict().items():
        np.testing.assert_array_equal(picture, grey[name])
        assert picture.shape == (427, 640)


def test_patches_come_row_by_row_and_noise_has_its_level():
    picture = np.arange(20.0).reshape(4, 5)
    cut = data.patches(picture, 3)
    assert cut.shape == (6, 9)
    np.testing.assert_array_equal(cut[4].reshape(3, 3), picture[1:4, 1:4])
    noise = data.add_noise(np.ones((300, 300)), 0.1, seed=3) - 1
    assert abs(noise.std() - 0.1) < 0.002 and abs(noise.mean()) < 0.002
    again, other = (data.add_noise(np.ones((300, 300)), 0.1, seed=seed) - 1 for seed in (3, 4))
    np.testing.assert_array_equal(noise, again)
    assert abs(np.mean(noise * other)) < 1e-3 * 0.1  # another seed, other noise
    _, axes = plt.subplots()
    fig = plotting.image_grid([picture] * 3, columns=2, titles=["a", "b"], limits=(-5, 40))
    assert [ax.get_title() for ax in fig.axes] == ["a", "b", "", ""]
    assert [ax.images[0].get_clim() for ax in fig.axes[:3]] == [(-5, 40)] * 3
    assert plotting.image_grid([picture, 2 * picture], 2).axes[1].images[0].get_clim() == (0, 38)  # its own range
    plt.close("all")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.load("iris"), "name: expected one of 'two_blobs', 'correlated_mixture', 'penguins'"),
        (lambda: data.photograph("lena"), "name: expected one of 'china', 'flower'.*'brick'.*got 'lena'"),
        (lambda: data.photograph("moon", colour=True), "colour: expected a photograph in colour, got 'moon'"),
        (lambda: data.patches(np.zeros((6, 9))), r"size: expected at most 6 for a picture \(6, 9\), got 8"),
        (lambda: data.patches(np.zeros((9, 9, 3))), r"picture: expected \[height, width\], got shape \(9, 9, 3\)"),
        (lambda: data.patches(np.full((9, 9), np.nan)), "picture: expected finite numbers, got NaN"),
        (lambda: data.add_noise(np.zeros((9, 9)), 0.0), "sigma: expected a positive number, got 0.0"),
        (lambda: data.add_noise(np.zeros((9, 9)), -1), "sigma: expected a positive number, got -1"),
        (lambda: data.two_blobs(n=0), "n: expected a whole number of at least 1, got 0"),
        (lambda: data.correlated_mixture(0, 2), "num_components: expected a whole number of at least 1, got 0"),
        (lambda: data.correlated_mixture(2, 0), "event_size: expected a whole number of at least 1, got 0"),
        (lambda: data.correlated_mixture(2, 2, separation=-1), "separation: expected a positive number, got -1"),
        (lambda: data.sample_mixture(5, [0.5, 0.6], np.zeros((2, 2)), [np.eye(2)] * 2), "weights: expected"),
        (lambda: data.sample_mixture(5, [1.0], np.zeros((2, 2)), [np.eye(2)] * 2), r"loc: expected \[1, D\]"),
        (lambda: data.sample_mixture(5, [1.0], np.zeros((1, 2)), [np.eye(3)]), r"covariance: expected \[1, 2, 2\]"),
        (lambda: data.sample_mixture(5, [1.0], np.zeros((1, 2)), [[[1, 1], [0, 1]]]), "covariance: expected symmetric"),
        (
            lambda: data.sample_mixture(5, [1.0], np.zeros((1, 2)), [-np.eye(2)]),
            "got one with the eigenvalue -1",
        ),
        (lambda: data.sample_mixture(5, [1.0], [[np.nan, 0]], [np.eye(2)]), "loc: expected finite numbers, got NaN"),
        (lambda: data.sample_mixture(5, [1.0], [[0, 0]], [np.inf * np.ones((2, 2))]), "covariance: expected finite"),
        (lambda: data.sample_mixture(5, [np.nan], [[0, 0]], [np.eye(2)]), "weights: expected finite numbers"),
        (lambda: data.sample_mixture(5, ["all"], [[0, 0]], [np.eye(2)]), "weights: expected numbers, got an array of"),
        (lambda: data.two_blobs(seed=-1), "seed: expected a whole number of at least 0, got -1"),
        (lambda: plotting.show(plt.figure(), alt=" "), "alt: expected a sentence"),
        (lambda: runtime.set_seed(-1), "seed: expected a whole number from 0 to 4294967295, got -1"),
        (lambda: runtime.set_seed(1.5), "seed: expected a whole number"),
        (lambda: runtime.set_seed(2**32), "seed: expected a whole number from 0 to 4294967295, got 4294967296"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_check_prints_raises_and_wants_one_truth_value(capsys):
    check("one is one", 1 == 1)
    check("a boolean tensor will do", tf.constant(True))
    assert capsys.readouterr().out == "holds: one is one\nholds: a boolean tensor will do\n"
    with pytest.raises(AssertionError, match="does not hold: one is two"):
        check("one is two", np.bool_(False))
    for no_truth in (1.0, np.array([True, True]), None, "yes"):
        with pytest.raises(TypeError, match="holds: expected one truth value"):
            check("never", no_truth)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.000312345, " (0.00031)"),
        (np.float32(12.3456), " (12)"),
        (tf.constant(-1.25), " (-1.2)"),
        (342, " (342)"),
        (np.int64(123456), " (123456)"),
        (0, " (0)"),
        ("4 of 10", " (4 of 10)"),
        (None, ""),
    ],
)
def test_check_shows_the_value_beside_the_claim(capsys, value, shown):
    check("one is one", 1 == 1, value)
    assert capsys.readouterr().out == f"holds: one is one{shown}\n"
    with pytest.raises(AssertionError) as caught:
        check("one is two", 1 == 2, value)
    assert str(caught.value) == f"does not hold: one is two{shown}"


def test_check_wants_one_number_as_value():
    for no_value in (np.zeros(2), True, [1.0], 1j):
        with pytest.raises(TypeError, match="value: expected a text or one number"):
            check("one is one", 1 == 1, no_value)


def test_one_seed_for_everything_that_draws():
    def draw():
        runtime.set_seed(7)
        return random.random(), np.random.normal(), float(tf.random.normal([]))

    assert draw() == draw()


def test_a_notebook_starts_with_one_line_that_tells_the_versions_and_nothing_else():
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    code = "from helpers import runtime; runtime.start(3); import numpy; print(numpy.random.get_state()[1][0])"
    done = subprocess.run([sys.executable, "-c", code], timeout=300, capture_output=True, text=True, env=environment)
    packages = {"TensorFlow": "tensorflow", "TFP": "tensorflow-probability", "tf_keras": "tf-keras"}
    found = [f"{name} {metadata.version(package)}" for name, package in {**packages, "NumPy": "numpy"}.items()]
    line = ", ".join([f"Python {sys.version.split()[0]}", *found])
    assert (done.stderr, done.stdout) == ("", f"{line}\n3\n")


@pytest.mark.parametrize("level", [None, "0"])
def test_the_first_operation_is_quiet_too_and_python_is_told_errors_only(level):
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}
    code = (
        "from helpers import runtime; runtime.quiet_import(); import os, sys, tensorflow as tf; tf.zeros([2]) + 1; "
        "tf.get_logger().warning('no'); tf.get_logger().error('yes'); print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=300, capture_output=True, text=True, env=environment)
    assert (done.stderr, done.stdout) == ("ERROR:tensorflow:yes\n", f"{level or 3}\n")  # what the user set stays


def test_the_import_is_quiet_and_what_comes_after_is_heard(capfd):
    with runtime._silent_stderr():
        os.write(2, b"a log line from C++")
    os.write(2, b"an error")
    assert capfd.readouterr().err == "an error"


def test_data_and_plotting_import_no_tensorflow():
    code = "import sys, helpers.data, helpers.plotting; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_every_picture_carries_its_text_alternative(monkeypatch):
    seen = []
    monkeypatch.setattr(plotting, "display", lambda bundle, **options: seen.append((bundle, options)))
    fig, ax = plotting.panels(titles=["A"])
    plotting.show(fig, alt="An empty panel.")
    bundle, options = seen[0]
    assert bundle["image/png"].startswith(b"\x89PNG") and bundle["text/plain"] == "An empty panel."
    assert options["metadata"] == {"image/png": {"alt": "An empty panel."}}
    assert not plt.fignum_exists(fig.number)


def drawing(height, kind="line"):
    if height > 5:
        raise OverflowError(f"{height} is <too high>")
    fig, ax = plt.subplots()
    ax.plot([0, height])
    return fig, f'A "{kind}" to {height}.'


def test_a_panel_follows_each_of_its_controls():
    plt.close("all")
    controls = {"height": ipywidgets.IntSlider(2, 0, 9), "kind": ipywidgets.ToggleButtons(options=["line", "curve"])}
    panel = plotting.live(drawing, **controls)
    picture = panel.children[-1]
    assert panel.children[:-1] == tuple(controls.values())
    seen = [picture.value]
    assert 'alt="A &quot;line&quot; to 2."' in seen[0] and "data:image/png;base64,iVBOR" in seen[0]
    controls["height"].value = 4
    assert 'alt="A &quot;line&quot; to 4."' in picture.value
    controls["kind"].value = "curve"
    assert 'alt="A &quot;curve&quot; to 4."' in picture.value
    assert plt.get_fignums() == []  # nothing is left open, however often it moves


def test_a_panel_shows_the_error_of_its_callback_and_recovers():
    with pytest.raises(OverflowError):
        plotting.live(drawing, height=ipywidgets.IntSlider(7, 0, 9))
    slider = ipywidgets.IntSlider(2, 0, 9)
    picture = plotting.live(drawing, height=slider).children[-1]
    with pytest.raises(OverflowError):
        slider.value = 7
    assert 'role="alert"' in picture.value and "OverflowError: 7 is &lt;too high&gt;" in picture.value
    slider.value = 3
    assert "to 3." in picture.value and "alert" not in picture.value


def test_a_panel_leaves_nothing_open_and_nothing_alive():
    """Not a figure of a callback that raises halfway, not one that was there before, no garbage of the session."""
    plt.close("all")
    kept = plt.figure()

    def halfway(height):
        plt.subplots()
        return drawing(height)

    slider = ipywidgets.IntSlider(2, 0, 9)
    plotting.live(halfway, height=slider)
    with pytest.raises(OverflowError):
        slider.value = 7
    assert plt.get_fignums() == [kept.number]
    plt.close("all")

    class Large:
        pass

    large = Large()
    large.itself = large
    gone = weakref.ref(large)
    plotting.live(drawing, height=ipywidgets.IntSlider(2, 0, 9))
    del large
    gc.collect()
    assert gone() is None and gc.isenabled()


def test_a_panel_looks_for_garbage_once_a_move_and_only_among_the_young():
    seen = []
    slider = ipywidgets.IntSlider(2, 0, 9)
    plotting.live(drawing, height=slider)
    gc.collect()
    gc.callbacks.append(lambda phase, info: seen.append(info["generation"]) if phase == "start" else None)
    try:
        for height in (3, 4, 5):
            slider.value = height
    finally:
        gc.callbacks.pop()
    assert seen == [0, 0, 0]


def test_the_strip_names_every_part():
    layout = MixtureLayout(2, 2, "full")
    fig = plotting.layout_strip(layout)
    texts = [text.get_text() for text in fig.axes[0].texts]
    assert [t for t in texts if t.isdigit()] == [str(i) for i in range(12)]
    assert set(layout.slices) | {"component 0", "component 1"} <= set(texts)
    written = plotting.layout_strip(layout, values=np.arange(12) / 8)
    assert [text.get_text() for text in written.axes[0].texts if "." in text.get_text()] == [
        f"{i / 8:.2f}" for i in range(12)
    ]
    plt.close("all")


def test_panels_share_their_axes_unless_told_otherwise():
    for share in (True, False):
        fig, axes = plotting.panels(2, 2, share=share, titles=["a"])
        axes[0].set(xlim=(0, 7), ylim=(-3, 5))
        assert [(ax.get_xlim(), ax.get_ylim()) == ((0, 7), (-3, 5)) for ax in axes] == [True] + 3 * [share]
        assert len(axes) == 4 and axes[0].get_title() == "a"
    assert plotting.panels(size=(2.0, 3.0))[0].get_size_inches().tolist() == [2, 3]
    plt.close("all")


def test_ellipses_lie_at_one_two_and_three_standard_deviations():
    _, ax = plotting.panels()
    covariance = np.array([[4.0, 1.2], [1.2, 1.0]])
    plotting.ellipses(ax, tf.constant([[1.0, 2.0]]), tf.constant([covariance]), weights=[1.0], label="truth")
    for line, radius in zip([line for line in ax.lines if len(line.get_xdata()) > 1], (1, 2, 3), strict=True):
        centred = line.get_xydata() - [1.0, 2.0]
        squared = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
        np.testing.assert_allclose(squared, radius**2, rtol=1e-6)
    assert ax.texts[0].get_text() == "1.00"
    _, ax = plotting.panels()
    plotting.ellipses(ax, np.zeros((2, 2)), [covariance] * 2, weights=[0.25, 0.75])
    assert [text.get_text() for text in ax.texts] == ["0.25", "0.75"]
    drawn = [line.get_color() for line in ax.lines if len(line.get_xdata()) > 1]
    assert drawn == [plotting.PALETTE[0]] * 3 + [plotting.PALETTE[1]] * 3
    plt.close("all")


def test_density_draws_its_argument_and_no_global():
    _, ax = plotting.panels()
    asked = []

    def log_prob(grid):
        asked.append(grid.shape)
        return -((grid - [1, -1]) ** 2).sum(axis=-1)

    plotting.density(ax, log_prob, (-3, 3), (-3, 3), steps=50)
    assert asked == [(2500, 2)] and ax.get_xlim() == (-3, 3)
    highest = [path for path in ax.collections[-1].get_paths() if len(path.vertices)][-1]
    np.testing.assert_allclose(highest.vertices.mean(axis=0), [1, -1], atol=0.2)
    levels = ax.collections[-1].levels
    assert len(levels) == 8 and abs(levels[-1]) < 0.02  # from the top, each a third of the one above it
    np.testing.assert_allclose(np.exp(np.diff(levels)), 3)
    plt.close("all")


def test_points_responsibilities_and_losses_are_labelled():
    x = np.random.default_rng(0).normal(size=(6, 2))
    _, (left, middle, right) = plotting.panels(1, 3)
    plotting.points(left, x, [0, 1, 2, 0, 1, 2], names=("a", "b", "c"))
    assert left.get_legend_handles_labels()[1] == ["a", "b", "c"]
    plotting.responsibilities(middle, x, np.eye(2)[[0, 1, 0, 1, 0, 1]])
    blue, red = (np.array(plt.matplotlib.colors.to_rgb(color)) for color in plotting.PALETTE[:2])
    np.testing.assert_allclose(middle.collections[0].get_facecolor()[0, :3], blue)
    plotting.responsibilities(middle, x, np.repeat([[0.75, 0.25]], 6, axis=0))
    np.testing.assert_allclose(middle.collections[4].get_facecolor()[0, :3], 0.75 * blue + 0.25 * red)
    assert middle.get_legend_handles_labels()[1] == ["component 0", "component 1"] * 2
    plotting.responsibilities(left, x, np.eye(2)[[0, 1, 0, 1, 0, 1]], names=("Adelie", "Gentoo"))
    assert left.get_legend_handles_labels()[1][-2:] == ["Adelie", "Gentoo"]
    plotting.loss_curve(right, {"fit": [3.0, 2.0, 1.5]}, floor=1.4, unit="bits per row")
    assert right.get_legend_handles_labels()[1] == ["fit", "entropy of the data"]
    assert right.get_xlabel() == "epoch" and right.get_ylabel() == "loss (bits per row)"
    assert right.lines[0].get_xydata().tolist() == [[1, 3.0], [2, 2.0], [3, 1.5]]
    assert list(right.lines[1].get_ydata()) == [1.4, 1.4]
    plt.close("all")


def test_exercise_tells_unwritten_wrong_failing_and_right_apart(capsys):
    def unwritten():
        raise NotImplementedError

    def is_right(answer):
        return {2: True, 3: "Expected 2, got 3."}.get(answer(), False)

    for yours in (unwritten, lambda: 3, lambda: 4, lambda: 1 / 0, lambda: None, lambda: 2):
        exercise("two", is_right, yours, solution=lambda: 2)
    assert capsys.readouterr().out.splitlines() == [
        "not done yet: two",
        "not right yet. Should hold: two. Expected 2, got 3.",
        "not right yet. Should hold: two.",
        "not right yet. Should hold: two. It raised ZeroDivisionError: division by zero",
        "not right yet. Should hold: two. It returned None: is there a return?",
        "right: two",
    ]
    with pytest.raises(AssertionError, match="the solution does not pass its own test: two"):
        exercise("two", is_right, unwritten, solution=lambda: 3)


def test_fails_with_prints_the_real_message_and_wants_a_failure(capsys):
    with fails_with(ValueError):
        raise ValueError("expected 2, got 3")
    assert capsys.readouterr().out == "ValueError: expected 2, got 3\n"
    with pytest.raises(AssertionError, match="nothing was raised"), fails_with(ValueError):
        pass
    with pytest.raises(KeyError), fails_with(ValueError):
        raise KeyError
