"""Figures in one style: a palette that colour-blind readers can tell apart, and a text alternative for every picture.

Importing this module sets Matplotlib's style for the session. Arguments may be NumPy arrays or TensorFlow tensors.
"""

import base64
import gc
import html
import io
import traceback

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

# Okabe and Ito (2008), "Color Universal Design": eight colours told apart with any colour vision.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
GREY = "#5F6368"  # the second voice: floors, oracles, points without a component
LINE_STYLES = ("-", "--", "-.", ":")

plt.rcParams.update(
    {
        "figure.dpi": 100,
        "figure.constrained_layout.use": True,
        "font.size": 10,
        "axes.titlesize": 10.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": plt.cycler(color=PALETTE),
        "legend.frameon": False,
        "image.cmap": "gray",
    }
)


def show(fig, alt):
    """Display a figure as PNG with its text alternative, which is its text without pictures too, and close it.

    Args:
      fig: a Matplotlib figure.
      alt: what the picture shows, in a sentence or two; no numbers that differ between runs.

    Raises:
      ValueError: where `alt` is empty.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt: expected a sentence that says what the figure shows, got {alt!r}")
    drawn, file = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=120, facecolor="white", bbox_inches="tight")
    plt.close(fig)
    # 256 colours are enough for a figure and make the stored notebook a third of its size.
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, format="png", optimize=True)
    display({"image/png": file.getvalue(), "text/plain": alt}, raw=True, metadata={"image/png": {"alt": alt}})


def live(draw, /, **controls):
    """Widgets and the figure that follows them: a panel to end a cell with.

    `plotting.show(*draw(...))` puts the same figure, at one setting, where no kernel runs: a page, a stored notebook.

    Args:
      draw: function of the controls' values, by name, to a Matplotlib figure and its text alternative.
      controls: ipywidgets with a `value` and a description. A slider whose figure takes its time wants
        `continuous_update=False`: it is drawn again when the slider rests.

    Returns:
      An ipywidgets.Box: the controls, and below them the picture.

    Raises:
      Exception: whatever `draw` raises at the first values. Later, when a control moves, the traceback also takes the
        picture's place: where widgets live, nobody else would show it.
    """
    picture = ipywidgets.HTML()

    def source():
        fig, alt = draw(**{name: control.value for name, control in controls.items()})
        file = io.BytesIO()
        fig.savefig(file, format="png", facecolor="white", pil_kwargs={"compress_level": 1})
        text = base64.b64encode(file.getvalue()).decode()
        return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{text}" style="max-width: 100%">'

    def redraw(_=None):
        open_before, collects = plt.get_fignums(), gc.isenabled()
        # A figure leaves cycles behind, and makes objects enough for Python to look for garbage in all that a notebook
        # has built by now, which can take a second. So it looks once, after the figure, and only at what is new.
        gc.disable()
        try:
            picture.value = source()
        except Exception:
            picture.value = f'<pre role="alert" style="color: #B00020">{html.escape(traceback.format_exc())}</pre>'
            raise
        finally:
            for number in set(plt.get_fignums()).difference(open_before):
                plt.close(number)
            if collects:
                gc.enable()
            gc.collect(0)

    redraw()
    for control in controls.values():
        control.style.description_width = "12em"
        control.layout.width, control.layout.max_width = "32em", "100%"
        control.observe(redraw, "value")
    picture.layout.width = "100%"  # below the controls, which stand side by side where there is room
    flow = ipywidgets.Layout(display="flex", flex_flow="row wrap")
    return ipywidgets.Box([*controls.values(), picture], layout=flow)


def panels(rows=1, columns=1, size=(4.0, 3.4), share=True, titles=()):
    """A figure of panels to be compared: the same axes for all where `share` is true.

    Args:
      rows, columns: how many panels.
      size: width and height of one panel, in inches.
      share: whether all panels have the same x and y range.
      titles: of the panels, row by row; may be shorter than their number.

    Returns:
      The figure and an array of its axes [rows * columns]; for one panel, the axes itself.
    """
    fig, axes = plt.subplots(
        rows, columns, figsize=(size[0] * columns, size[1] * rows), sharex=share, sharey=share, squeeze=False
    )
    flat = axes.ravel()
    for ax, title in zip(flat, titles, strict=False):
        ax.set_title(title)
    return fig, flat if flat.size > 1 else flat[0]


def layout_strip(layout, values=None):
    """A picture of the flat vector: one box a number, the parts of each component in its colour and named.

    Args:
      layout: a MixtureLayout.
      values: [params_size], written into the boxes; their positions if left out.

    Returns:
      The figure.
    """
    text = range(layout.params_size) if values is None else [f"{v:.2f}" for v in np.asarray(values)]
    fig, ax = plt.subplots(figsize=(max(6.0, 0.52 * layout.params_size), 1.7))
    for name, part in layout.slices.items():
        component = None if name == "logits" else int(name.split("[")[1].rstrip("]"))
        color = GREY if component is None else PALETTE[component % len(PALETTE)]
        strength = 0.55 if name.startswith("loc") else 0.25
        for position in range(part.start, part.stop):
            face = (*to_rgb(color), strength)
            ax.add_patch(Rectangle((position, 0), 1, 1, facecolor=face, edgecolor="white", linewidth=1.5))
            ax.text(position + 0.5, 0.5, str(text[position]), ha="center", va="center", fontsize=8.5)
        middle = (part.start + part.stop) / 2
        ax.text(middle, -0.2, name, ha="center", va="top", fontsize=8.5)
        if name.startswith("loc"):
            end = layout.slices[f"{layout.scale_name}[{component}]"].stop
            ax.plot([part.start + 0.1, end - 0.1], [1.12, 1.12], color=color, linewidth=2)
            ax.text((part.start + end) / 2, 1.2, f"component {component}", ha="center", va="bottom", color="black")
    ax.set(xlim=(-0.1, layout.params_size + 0.1), ylim=(-0.75, 1.65))
    ax.axis("off")
    return fig


def points(ax, x, labels=None, names=(), size=14, alpha=0.7):
    """Points of the plane, a colour and a marker for each label.

    Args:
      ax: Matplotlib axes.
      x: [N, 2].
      labels: [N] ints from 0; all grey if left out.
      names: what the labels are called in the legend.
      size, alpha: of the markers: area in points squared, opacity.
    """
    x = np.asarray(x)
    if labels is None:
        ax.scatter(x[:, 0], x[:, 1], s=size, color=GREY, alpha=alpha, linewidth=0)
        return
    labels = np.asarray(labels)
    for value in np.unique(labels):
        style = {"color": PALETTE[value % len(PALETTE)], "marker": MARKERS[value % len(MARKERS)]}
        label = names[value] if value < len(names) else None
        chosen = x[labels == value]
        ax.scatter(chosen[:, 0], chosen[:, 1], s=size, alpha=alpha, linewidth=0, label=label, **style)


def ellipses(ax, loc, covariance, weights=None, colors=PALETTE, label=None, linestyle="-"):
    """Each component at 1, 2 and 3 standard deviations, with a cross on its mean.

    Args:
      ax: Matplotlib axes.
      loc: [K, 2].
      covariance: [K, 2, 2].
      weights: [K]; where given, they are written beside the means.
      colors: one a component, repeated where there are more components.
      label: for the legend.
      linestyle: of the lines.
    """
    angle = np.linspace(0, 2 * np.pi, 100)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    loc, factors = np.asarray(loc), np.linalg.cholesky(np.asarray(covariance, np.float64))
    for k, (mean, factor) in enumerate(zip(loc, factors, strict=True)):
        color = colors[k % len(colors)]
        for radius, alpha in ((1, 1.0), (2, 0.7), (3, 0.4)):
            line = mean[:, np.newaxis] + radius * factor @ circle
            named = label if k == 0 and radius == 1 else None
            ax.plot(*line, color=color, alpha=alpha, linewidth=1.6, linestyle=linestyle, label=named)
        for halo, line_color in ((5.0, "white"), (2.0, color)):
            ax.plot(*mean, marker="+", markersize=10, markeredgewidth=halo, color=line_color, zorder=3)
        if weights is not None:
            note = f"{float(weights[k]):.2f}"
            text = ax.annotate(note, mean, xytext=(5, 5), textcoords="offset points", fontweight="bold")
            text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def density(ax, log_prob, xlim, ylim, steps=120, levels=7):
    """Contours of a density in the plane, filled, each level a third of the one above it.

    Args:
      ax: Matplotlib axes.
      log_prob: function from points [M, 2] to log densities [M].
      xlim, ylim: the range to draw.
      steps: grid points along each axis.
      levels: number of contours below the highest density of the grid.
    """
    horizontal, vertical = np.meshgrid(np.linspace(*xlim, steps), np.linspace(*ylim, steps))
    grid = np.stack([horizontal.ravel(), vertical.ravel()], axis=-1).astype(np.float32)
    values = np.asarray(log_prob(grid), np.float64).reshape(horizontal.shape)
    heights = values.max() - np.log(3.0) * np.arange(levels, -1, -1)
    ax.contourf(horizontal, vertical, values, levels=heights, cmap="Blues", alpha=0.55, extend="max")
    ax.contour(horizontal, vertical, values, levels=heights, colors=PALETTE[0], linewidths=0.5, linestyles="-")
    ax.set(xlim=xlim, ylim=ylim)


def responsibilities(ax, x, probabilities, names=(), size=16):
    """Points in the blend of the components' colours; the marker is that of the likeliest component.

    Args:
      ax: Matplotlib axes.
      x: [N, 2].
      probabilities: [N, K], rows that sum to 1: the probability of each component given the point.
      names: what the components are called in the legend; "component 0", ... if left out.
      size: area of the markers, in points squared.
    """
    x, probabilities = np.asarray(x), np.asarray(probabilities)
    colors = np.array([to_rgb(PALETTE[k % len(PALETTE)]) for k in range(probabilities.shape[1])])
    blend, likeliest = np.clip(probabilities @ colors, 0, 1), probabilities.argmax(axis=1)
    for k in range(probabilities.shape[1]):
        mine = likeliest == k
        marker = MARKERS[k % len(MARKERS)]
        ax.scatter(x[mine, 0], x[mine, 1], s=size, c=blend[mine], marker=marker, linewidth=0)
        name = names[k] if k < len(names) else f"component {k}"
        ax.scatter([], [], s=size, color=colors[k], marker=marker, linewidth=0, label=name)


def loss_curve(ax, curves, floor=None, floor_label="entropy of the data", unit="nats per point"):
    """Training losses against the epoch, with the level that no honest density can pass.

    Args:
      ax: Matplotlib axes.
      curves: {label: losses [epochs]}.
      floor: the level, in the unit of the losses; none if left out.
      floor_label: its name in the legend.
      unit: of the losses.
    """
    for i, (label, losses) in enumerate(curves.items()):
        ax.plot(
            np.arange(1, len(losses) + 1),
            losses,
            label=label,
            linestyle=LINE_STYLES[i % len(LINE_STYLES)],
            linewidth=1.8,
        )
    if floor is not None:
        ax.axhline(floor, color=GREY, linewidth=1.2, linestyle=(0, (1, 1)), label=floor_label)
    ax.set(xlabel="epoch", ylabel=f"loss ({unit})")
    ax.legend()


def image_grid(images, columns, titles=(), size=1.0, limits=None):
    """Grey pictures side by side.

    Args:
      images: a sequence of [height, width] arrays.
      columns: how many in a row.
      titles: of the pictures, in order; may be shorter.
      size: width of one picture, in inches.
      limits: (black, white) for all of them; each its own range if left out.

    Returns:
      The figure.
    """
    rows = -(-len(images) // columns)
    height = size * images[0].shape[0] / images[0].shape[1] + (0.25 if len(titles) else 0)
    fig, axes = plt.subplots(rows, columns, figsize=(size * columns, height * rows), squeeze=False)
    low, high = limits or (None, None)
    for ax, image in zip(axes.flat, images, strict=False):
        ax.imshow(image, vmin=low, vmax=high)
    for ax, title in zip(axes.flat, titles, strict=False):
        ax.set_title(title, fontsize=9)
    for ax in axes.flat:
        ax.axis("off")
    return fig
