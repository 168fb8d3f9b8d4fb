"""Images of another kind: ten letters drawn from Matplotlib's own fonts, in the form that MNIST_PATH takes.

    uv run python tests/benchmarks/letters.py FILE.npz [--train 8000] [--test 2000] [--seed 0]

Each image is a letter of a font at a random size, width, slant, turn and place, 28 x 28 grey values. The fonts of the
test images are none of those of the training images: what is judged has another hand. `group_test` numbers the pairs of
font and letter: images of one pair are alike, so errors are taken over pairs. No network, no licence question:
the fonts come with Matplotlib. The same seed writes the same images.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

LETTERS = "ABEGHKMRST"
SIDE = 28
TEST_FONTS = ("DejaVuSans-BoldOblique", "DejaVuSansMono", "DejaVuSerif-Italic", "STIXGeneralBol", "cmss10")
TRAIN_FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic", "STIXGeneral",
    "STIXGeneralItalic", "STIXGeneralBolIta", "cmr10", "cmb10", "cmtt10",
)  # fmt: skip


def outlines(fonts):
    """The path of each letter in each font, one high and about the origin: [fonts][letters]."""
    folder, found = Path(get_data_path()) / "fonts" / "ttf", []
    for font in fonts:
        properties, row = FontProperties(fname=folder / f"{font}.ttf"), []
        for letter in LETTERS:
            path = TextPath((0, 0), letter, size=100, prop=properties)
            box = path.get_extents()
            row.append(path.transformed(Affine2D().translate(-box.x0 - box.width / 2, -50).scale(0.01)))
            row[-1].vertices[:, 1] += 0.5 - (box.y0 + box.height / 2) / 100
        found.append(row)
    return found


def draw(path, rng):
    """One image [28, 28] of 0 to 255: 18 pixels high, give or take; a width, a slant, a turn and a place of its own."""
    height = 25 * rng.uniform(0.85, 1.1)  # of a letter of size one, whose capitals are about 0.7 high
    change = Affine2D().scale(rng.uniform(0.75, 1.15), 1).skew(rng.normal(0, 0.12), 0).rotate(rng.normal(0, 0.06))
    place = SIDE / 2 + rng.uniform(-1.5, 1.5, size=2)
    canvas = RendererAgg(SIDE, SIDE, 72)
    canvas.draw_path(canvas.new_gc(), path, change.scale(height).translate(*place), (0.0, 0.0, 0.0))
    return np.asarray(canvas.buffer_rgba())[..., 3].copy()


def sheet(fonts, size, rng):
    """Images [size, 28, 28], their letters, and for each the number of its font and letter: `font * 10 + letter`."""
    paths, labels, drawn, groups = outlines(fonts), rng.integers(0, len(LETTERS), size), [], []
    for label in labels:
        font = rng.integers(len(fonts))
        drawn.append(draw(paths[font][label], rng))
        groups.append(font * len(LETTERS) + label)
    return np.stack(drawn), labels, np.array(groups)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the .npz to write")
    parser.add_argument("--train", type=int, default=8000, help="how many images to train on (default 8000)")
    parser.add_argument("--test", type=int, default=2000, help="how many held-out ones (default 2000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name, least in (("train", 1), ("test", 1), ("seed", 0)):
        if getattr(options, name) < least:
            parser.error(f"--{name}: expected a whole number of at least {least}, got {getattr(options, name)}")
    rng = np.random.default_rng(options.seed)
    arrays = {}
    for part, fonts, size in (("train", TRAIN_FONTS, options.train), ("test", TEST_FONTS, options.test)):
        for name, array in zip(("x", "y", "group"), sheet(fonts, size, rng), strict=True):
            arrays[f"{name}_{part}"] = array
    np.savez_compressed(options.file, **arrays)
    counts = f"{options.train} images in {len(TRAIN_FONTS)} fonts, {options.test} in {len(TEST_FONTS)} others"
    print(f"{options.file}: {counts}")


if __name__ == "__main__":
    main()
