"""Every data set of the course by name. All of it works with no network but `mnist`, which takes a file instead."""

import csv
import os
from importlib import resources
from typing import NamedTuple

import numpy as np
from PIL import Image

from helpers import arguments


class MixtureSample(NamedTuple):
    """Points drawn from a mixture whose truth is known."""

    x: np.ndarray  #: [N, D] float32
    component: np.ndarray  #: [N] int, which component each point came from
    weights: np.ndarray  #: [K], sum 1
    loc: np.ndarray  #: [K, D]
    covariance: np.ndarray  #: [K, D, D]


class Penguins(NamedTuple):
    """Penguins of the Palmer Archipelago."""

    x: np.ndarray  #: [N, 2] float32, bill length and bill depth in mm
    species: np.ndarray  #: [N] int, an index into species_names
    species_names: tuple
    feature_names: tuple  #: of the two columns of x
    measurements: np.ndarray  #: [N, 4] float32, the columns of x, then flipper length in mm and body mass in g
    measurement_names: tuple
    sex: np.ndarray  #: [N] int, an index into sex_names, or -1 where it was not recorded
    sex_names: tuple


class Images(NamedTuple):
    """Grey images whose pixels count dark points: each lies between 0 and total_count."""

    x_train: np.ndarray  #: [N, pixels] float32, whole numbers
    y_train: np.ndarray  #: [N] int, what the picture shows
    x_test: np.ndarray  #: [M, pixels] float32
    y_test: np.ndarray  #: [M] int
    total_count: int  #: of points in a pixel
    shape: tuple  #: of a picture: rows, columns


def sample_mixture(n, weights, loc, covariance, seed=0):
    """Draw n points from a mixture of multivariate normals.

    Args:
      n: how many points, at least 1.
      weights: [K], positive, sum 1.
      loc: [K, D].
      covariance: [K, D, D], symmetric and positive definite.
      seed: an int.

    Returns:
      MixtureSample.

    Raises:
      ValueError: for shapes that do not fit, NaN or infinity, weights that are no probabilities, covariances
        that are not symmetric and positive definite.
    """
    given = {"weights": weights, "loc": loc, "covariance": covariance}
    weights, loc, covariance = (arguments.finite_array(*item).astype(np.float64) for item in given.items())
    if weights.ndim != 1 or np.any(weights < 0) or not np.isclose(weights.sum(), 1):
        raise ValueError(f"weights: expected [K] probabilities that sum to 1, got {weights.tolist()}")
    if loc.ndim != 2 or len(loc) != len(weights):
        raise ValueError(f"loc: expected [{len(weights)}, D], got shape {loc.shape}")
    if covariance.shape != (*loc.shape, loc.shape[1]):
        raise ValueError(f"covariance: expected {[*loc.shape, loc.shape[1]]}, got shape {covariance.shape}")
    factor = arguments.cholesky("covariance", covariance)
    rng, n = arguments.generator(seed), arguments.whole_number("n", n)
    component = rng.choice(len(weights), size=n, p=weights / weights.sum())
    noise = rng.standard_normal((n, loc.shape[1]))
    x = loc[component] + np.einsum("nij,nj->ni", factor[component], noise)
    return MixtureSample(x.astype(np.float32), component, weights, loc, covariance)


def two_blobs(seed=0, n=1000):
    """Two round blobs of equal weight with unit variance at (-2, -2) and (2, 2): n points in the plane."""
    loc = np.array([[-2.0, -2.0], [2.0, 2.0]])
    return sample_mixture(n, [0.5, 0.5], loc, np.stack([np.eye(2)] * 2), seed)


def correlated_mixture(num_components=3, event_size=2, n=2000, separation=4.0, seed=0):
    """A mixture with random correlations and known truth, for any number of components and dimensions.

    Standard deviations lie between 0.5 and 1.5, weights between 0.5/K and 2/K before they are scaled to sum 1, and the
    means are normal with standard deviation `separation` / sqrt(2 D), so that two of them lie about `separation` apart.

    Args:
      num_components: K, at least 1.
      event_size: D, at least 1.
      n: how many points.
      separation: typical distance between two means; a positive number.
      seed: of the truth and of the points.

    Returns:
      MixtureSample.

    Raises:
      ValueError: for a size below 1 or a separation that is not positive.
    """
    k = arguments.whole_number("num_components", num_components)
    d = arguments.whole_number("event_size", event_size)
    if not separation > 0 or not np.isfinite(separation):
        raise ValueError(f"separation: expected a positive number, got {separation!r}")
    rng = arguments.generator(seed)
    weights = rng.uniform(0.5, 2.0, k)
    loc = rng.standard_normal((k, d)) * separation / np.sqrt(2 * d)
    mixing = rng.standard_normal((k, d, 2 * d))
    covariance = mixing @ np.swapaxes(mixing, 1, 2)
    std = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    wanted = rng.uniform(0.5, 1.5, (k, d))
    covariance *= (wanted / std)[:, :, np.newaxis] * (wanted / std)[:, np.newaxis, :]
    return sample_mixture(n, weights / weights.sum(), loc, covariance, rng.integers(2**32))


def penguins():
    """342 penguins of three species: bill length and depth, flipper length, body mass, and the sex of 333 of them.

    Source: Gorman, Williams and Fraser (2014), PLoS ONE 9(3) e90081; collected at Palmer Station, Antarctica LTER; the
    table `penguins.csv` beside this file is that of the package palmerpenguins (Horst, Hill and Gorman 2020), released
    under CC0. Of its 344 birds, the 2 without measurements are left out.
    """
    columns = {
        "bill_length_mm": "bill length (mm)",
        "bill_depth_mm": "bill depth (mm)",
        "flipper_length_mm": "flipper length (mm)",
        "body_mass_g": "body mass (g)",
    }
    with resources.files("helpers").joinpath("penguins.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["bill_length_mm"] != "NA"]
    species_names, sex_names = tuple(sorted({row["species"] for row in rows})), ("female", "male")
    measurements = np.array([[row[column] for column in columns] for row in rows]).astype(np.float32)
    species = np.array([species_names.index(row["species"]) for row in rows])
    sex = np.array([sex_names.index(row["sex"]) if row["sex"] in sex_names else -1 for row in rows])
    names = tuple(columns.values())
    return Penguins(measurements[:, :2].copy(), species, species_names, names[:2], measurements, names, sex, sex_names)


# Every photograph that the wheels of scikit-learn and scikit-image carry; most of scikit-image's others are fetched.
PHOTOGRAPHS = {
    **{name: ("sklearn.datasets.images", f"{name}.jpg") for name in ("china", "flower")},
    **{name: ("skimage.data", f"{name}.jpg") for name in ("hubble_deep_field", "retina", "rocket")},
    **{
        name: ("skimage.data", f"{name}.png")
        for name in (
            "astronaut brick camera chelsea clock_motion coffee coins grass gravel ihc microaneurysms moon "
            "motorcycle_left motorcycle_right"
        ).split()
    },
}
LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue, ITU-R BT.709


def photograph(name, colour=False):
    """One of the photographs that come with scikit-learn and scikit-image: `PHOTOGRAPHS` names them.

    Grey is luminance: 0.2126 red + 0.7152 green + 0.0722 blue, of the values as stored. Sources and licences, as the
    two packages state them: china and flower CC BY 2.0 (danielbuechele, vultilion); CC0 brick, camera (Lav Varshney),
    chelsea (Stefan van der Walt), coffee (Rachel Michetti), grass, gravel, microaneurysms (Andreas Maier), retina
    (Mikael Häggström); public domain astronaut (NASA), clock_motion (Stefan van der Walt), hubble_deep_field (NASA),
    rocket (SpaceX); "no known copyright restrictions" coins (Brooklyn Museum), ihc (CMMI); motorcycle_left and _right
    from the Middlebury 2014 stereo benchmark (Scharstein et al.) and moon with no licence of their own.

    Args:
      name: of the photograph.
      colour: whether to give red, green and blue.

    Returns:
      float64 [height, width], 0 (black) to 1 (white); [height, width, 3] with `colour`.

    Raises:
      ValueError: for an unknown name, or `colour` of a photograph that is grey.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"name: expected one of {', '.join(map(repr, PHOTOGRAPHS))}, got {name!r}")
    pixels = _pixels(name)
    if colour and pixels.ndim == 2:
        raise ValueError(f"colour: expected a photograph in colour, got {name!r}, which is grey")
    return (pixels if colour or pixels.ndim == 2 else pixels @ np.array(LUMINANCE)) / 255


def all_photographs(colour=False):
    """{name: photograph}: all of `PHOTOGRAPHS`, in grey; with `colour` those that have it. See `photograph`."""
    return {name: photograph(name, colour) for name in PHOTOGRAPHS if not colour or _pixels(name).ndim == 3}


def _pixels(name):
    package, file_name = PHOTOGRAPHS[name]
    with resources.files(package).joinpath(file_name).open("rb") as file:
        return np.asarray(Image.open(file))


class Photographs(NamedTuple):
    """Two photographs in grey, 427 by 640 pixels, 0 (black) to 1 (white)."""

    china: np.ndarray  #: float64: a pagoda above a lake, trees
    flower: np.ndarray  #: float64: a dahlia in front of dark leaves


def photographs():
    """The two sample photographs of scikit-learn, in grey. See `photograph`."""
    return Photographs(photograph("china"), photograph("flower"))


def patches(picture, size=8):
    """Every square patch of a picture, row by row of their top left corners: overlapping, one pixel apart.

    Args:
      picture: array [height, width], finite.
      size: side of a patch in pixels, from 1 to the shorter side of the picture.

    Returns:
      A view or array [(height - size + 1) (width - size + 1), size * size].

    Raises:
      ValueError: for a picture of another rank or with NaN or infinity, a patch larger than the picture.
    """
    picture = _picture(picture)
    if arguments.whole_number("size", size) > min(picture.shape):
        raise ValueError(f"size: expected at most {min(picture.shape)} for a picture {picture.shape}, got {size}")
    windows = np.lib.stride_tricks.sliding_window_view(picture, (size, size))
    return windows.reshape(-1, size * size)


def add_noise(picture, sigma, seed=0):
    """The picture plus independent normal noise of standard deviation `sigma`, in the picture's unit; not clipped.

    Raises:
      ValueError: as `patches`, and for a `sigma` that is not a positive number.
    """
    picture = _picture(picture)
    return picture + arguments.positive("sigma", sigma) * arguments.generator(seed).standard_normal(picture.shape)


def _picture(picture):
    picture = arguments.finite_array("picture", picture)
    if picture.ndim != 2:
        raise ValueError(f"picture: expected [height, width], got shape {picture.shape}")
    return picture


def digits(seed=0, num_test=360):
    """1,797 handwritten digits of 8x8 pixels, split at random into images to train on and held-out ones.

    A pixel counts the dark points of a 4x4 block of the scanned picture, 0 to 16. Source: E. Alpaydin and C. Kaynak
    (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, as it comes with scikit-learn.

    Args:
      seed: of the split.
      num_test: how many images to hold out, 1 to 1796.

    Returns:
      Images with total_count 16.

    Raises:
      ValueError: for a num_test outside that range.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    if arguments.whole_number("num_test", num_test) >= len(x):
        raise ValueError(f"num_test: expected fewer than the {len(x)} images, got {num_test}")
    order = arguments.generator(seed).permutation(len(x))
    x, y = x[order].astype(np.float32), y[order]
    return Images(x[num_test:], y[num_test:], x[:num_test], y[:num_test], 16, (8, 8))


def mnist(path=None):
    """70,000 handwritten digits of 28x28 pixels, binarised: a pixel is 1 where its grey value is above 127.

    Args:
      path: of an .npz file with x_train [N, 28, 28], y_train [N], x_test [M, 28, 28], y_test [M]: grey values 0 to 255
        and labels 0 to 9. Left out, the environment variable MNIST_PATH; where that is not set either, Keras's copy,
        which it keeps after a first download.

    Returns:
      Images with total_count 1.

    Raises:
      ValueError: for a file that is not there or not such a file, and where there is neither file nor network.
    """
    path = path or os.environ.get("MNIST_PATH")
    if path:
        arrays = _read_npz(path)
    else:
        import tf_keras

        try:
            (x_train, y_train), (x_test, y_test) = tf_keras.datasets.mnist.load_data()
        except Exception as error:
            raise ValueError(
                "path: expected the path of an .npz file (or MNIST_PATH set to one) with the arrays x_train, y_train, "
                f"x_test and y_test, got None, and MNIST could not be downloaded either ({type(error).__name__})"
            ) from None
        arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    parts = []
    for name in ("train", "test"):
        x, y = (arguments.finite_array(f"{kind}_{name}", arrays[f"{kind}_{name}"]) for kind in "xy")
        if x.ndim != 3 or x.shape[1:] != (28, 28) or len(x) == 0:
            raise ValueError(f"x_{name}: expected images [N, 28, 28], got shape {x.shape}")
        if x.min() < 0 or x.max() > 255 or x.max() <= 1:
            times = ". Multiply them by 255." if 0 <= x.min() and x.max() <= 1 else ""
            raise ValueError(f"x_{name}: expected grey values from 0 to 255, got {x.min():g} to {x.max():g}{times}")
        if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() > 9:
            values = f"{y.dtype} of shape {y.shape}" + (f", {y.min()} to {y.max()}" if y.size else "")
            raise ValueError(f"y_{name}: expected {len(x)} labels from 0 to 9, got {values}")
        parts += [(x.reshape(len(x), -1) > 127).astype(np.float32), y.astype(np.int64)]
    return Images(*parts, 1, (28, 28))


def _read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise ValueError(f"path: expected an .npz file, got {str(path)!r}, which is not there") from None
    except Exception:  # NumPy, zipfile and zlib each have errors of their own for a file that is not whole
        raise ValueError(f"path: expected an .npz file, got {str(path)!r}, which NumPy cannot read as one") from None
    missing = [name for name in ("x_train", "y_train", "x_test", "y_test") if name not in arrays]
    if missing:
        raise ValueError(f"path: expected the arrays x_train, y_train, x_test, y_test, got none named {missing}")
    return arrays


DATASETS = {
    "two_blobs": two_blobs,
    "correlated_mixture": correlated_mixture,
    "penguins": penguins,
    "photographs": photographs,
    "all_photographs": all_photographs,
    "digits": digits,
    "mnist": mnist,
}


def load(name, **options):
    """A data set by its name; `options` go to the function of that name.

    Raises:
      ValueError: for an unknown name; the message lists the known ones.
    """
    if name not in DATASETS:
        raise ValueError(f"name: expected one of {', '.join(map(repr, DATASETS))}, got {name!r}")
    return DATASETS[name](**options)
