"""The parameter layout: a mixture of multivariate normals as one flat vector of real numbers.

    `[ logits (K) | loc, covariance numbers of component 0 | loc, covariance numbers of component 1 | ... ]`

Every real vector of that length is a mixture, so a layer, an optimiser or a network may produce it freely. The order is
that of `tfpl.MixtureSameFamily(K, tfpl.MultivariateNormalTriL(D))`. Letters: K components, D = `event_size` dimensions.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from helpers import arguments

tfb = tfp.bijectors
tfd = tfp.distributions

# What tfpl.MultivariateNormalTriL adds to the diagonal of a factor, so that none of its numbers can vanish.
DIAG_SHIFT = 1e-5
# initial_params looks at no more rows than this: enough to place components, and K = 200 still fits in memory.
MAX_ROWS_FOR_START = 20_000


class FullParams(NamedTuple):
    logits: tf.Tensor  #: [..., K]
    loc: tf.Tensor  #: [..., K, D]
    covariance: tf.Tensor  #: [..., K, D, D]


class TriLParams(NamedTuple):
    logits: tf.Tensor  #: [..., K]
    loc: tf.Tensor  #: [..., K, D]
    scale_tril: tf.Tensor  #: [..., K, D, D], lower triangular, positive diagonal


class DiagParams(NamedTuple):
    logits: tf.Tensor  #: [..., K]
    loc: tf.Tensor  #: [..., K, D]
    scale_diag: tf.Tensor  #: [..., K, D], standard deviations


NAMED_PARAMS = {"full": FullParams, "tril": TriLParams, "diag": DiagParams}


@dataclasses.dataclass(frozen=True)
class MixtureLayout:
    """Sizes, names and meaning of the flat vector of a mixture of multivariate normals.

    Args:
      num_components: K, a whole number of at least 1.
      event_size: D, the dimension of a point, at least 1; 2 where `covariance` is "full".
      covariance: what a component's covariance numbers are.

        - "full": log standard deviation of x1, that of x2, and Fisher's z = arctanh(correlation). Two dimensions only.
        - "tril": the D(D+1)/2 numbers of a lower triangular factor L with covariance L @ L.T, in the order of
          `tfb.FillTriangular`, softplus on the diagonal, as `tfpl.MultivariateNormalTriL` reads them.
        - "diag": D numbers whose softplus is the standard deviation.

    Raises:
      ValueError: for a size below 1, an unknown covariance name, or "full" outside two dimensions.
    """

    num_components: int
    event_size: int
    covariance: str = "tril"

    def __post_init__(self):
        for name in ("num_components", "event_size"):
            object.__setattr__(self, name, arguments.whole_number(name, getattr(self, name)))
        if self.covariance not in NAMED_PARAMS:
            raise ValueError(
                f"covariance: expected one of {', '.join(map(repr, NAMED_PARAMS))}, got {self.covariance!r}"
            )
        if self.covariance == "full" and self.event_size != 2:
            raise ValueError(
                f"event_size: expected 2 for covariance 'full', got {self.event_size}. Two log standard deviations and "
                "one correlation are free of each other; with more dimensions, correlations chosen one by one need not "
                "form a positive definite matrix. Use covariance 'tril'."
            )

    @property
    def scale_size(self):
        """How many covariance numbers a component has."""
        d = self.event_size
        return {"full": 3, "tril": d * (d + 1) // 2, "diag": d}[self.covariance]

    @property
    def params_size(self):
        """The length of the flat vector, K + K (D + scale_size), a plain int as `Dense` wants it."""
        return self.num_components * (1 + self.event_size + self.scale_size)

    @property
    def slices(self):
        """Where each part stands: {"logits": slice(0, K), "loc[0]": ..., "covariance[0]": ..., "loc[1]": ...}."""
        parts, stop = {"logits": slice(0, self.num_components)}, self.num_components
        for k in range(self.num_components):
            for name, size in (("loc", self.event_size), (self.scale_name, self.scale_size)):
                parts[f"{name}[{k}]"] = slice(stop, stop + size)
                stop += size
        return parts

    def split(self, params):
        """The named parts of a flat vector, constrained: every real vector gives valid ones.

        Args:
          params: float tensor or array [..., params_size]. Leading axes stay as they are.

        Returns:
          A named tuple: logits [..., K], loc [..., K, D] and, by the layout's covariance, covariance [..., K, D, D],
          scale_tril [..., K, D, D] or scale_diag [..., K, D].

        Raises:
          ValueError: for another trailing size, or NaN or infinity (where the values are known: not while tracing).
        """
        logits, loc, numbers = self._blocks(params)
        scale = {"full": _covariance_2x2, "tril": _fill_scale_tril, "diag": _scale_diag}[self.covariance](numbers)
        return NAMED_PARAMS[self.covariance](logits, loc, scale)

    def pack(self, logits, loc, scale, dtype=tf.float32):
        """The flat vector of given parts: the inverse of `split`, as far as its rounded numbers tell.

        `pack(*split(params))` is `params` to 1e-3 in float32 where `|z| <= 5` ("full") or the diagonal's numbers are at
        least -20 ("tril", "diag"); in float64, 14 and -38. Outside, a correlation is rounded to 1 and a softplus to 0,
        and what `split` gave is refused or gives other numbers.

        Args:
          logits: [..., K], unnormalised log weights.
          loc: [..., K, D].
          scale: what `split` gives: covariance [..., K, D, D], scale_tril [..., K, D, D] or scale_diag [..., K, D].
          dtype: of the result. The map itself is computed in float64.

        Returns:
          A tensor [..., params_size].

        Raises:
          ValueError: for shapes that do not fit, NaN or infinity, a covariance that is not symmetric or not positive
            definite, a scale_tril with numbers above its diagonal, a diagonal that is not above 1e-5.
        """
        k, d = self.num_components, self.event_size
        logits = _finite_array("logits", logits, (k,))
        loc = _finite_array("loc", loc, (k, d), lead=logits.shape[:-1])
        scale = _finite_array(
            self.scale_name, scale, (k, d) if self.covariance == "diag" else (k, d, d), lead=logits.shape[:-1]
        )
        if self.covariance == "full":
            # arctanh(correlation) by way of the Cholesky factor: finite wherever there is one
            factor = arguments.cholesky("covariance", scale)
            std = np.sqrt(np.diagonal(scale, axis1=-2, axis2=-1))
            fisher_z = np.arcsinh(factor[..., 1, 0] / factor[..., 1, 1])
            numbers = np.concatenate([np.log(std), fisher_z[..., np.newaxis]], axis=-1)
        elif self.covariance == "tril":
            if np.any(np.triu(scale, 1)):
                raise ValueError("scale_tril: expected a lower triangular matrix, got numbers above the diagonal")
            _check_diagonal("scale_tril", np.diagonal(scale, axis1=-2, axis2=-1))
            numbers = tfb.FillScaleTriL(diag_shift=np.float64(DIAG_SHIFT)).inverse(scale).numpy()
        else:
            _check_diagonal("scale_diag", scale)
            numbers = tfp.math.softplus_inverse(scale - DIAG_SHIFT).numpy()
        blocks = np.concatenate([loc, numbers], axis=-1)
        flat = np.concatenate([logits, blocks.reshape(*logits.shape[:-1], -1)], axis=-1)
        return tf.constant(flat, dtype)

    def distribution(self, params, components=None):
        """The mixture that a flat vector stands for.

        Args:
          params: float tensor or array [..., params_size], as for `split`.
          components: the class of the components, `tfd.MultivariateNormalTriL` or one derived from it, such as
            `FastMultivariateNormalTriL`. Left out, `tfd.MultivariateNormalTriL`; for "diag"
            `tfd.MultivariateNormalDiag`, and a class that is given gets the standard deviations as a diagonal factor.

        Returns:
          `tfd.MixtureSameFamily` of multivariate normals: batch shape [...], event shape [D]. For "full" the components
          are given by their Cholesky factor in closed form, which stays exact where a float32 covariance would not.

        Raises:
          ValueError: as `split`, and for `components` that are no such class.
        """
        usual = tfd.MultivariateNormalDiag if self.covariance == "diag" else tfd.MultivariateNormalTriL
        kind = usual if components is None else components
        if not (isinstance(kind, type) and issubclass(kind, (usual, tfd.MultivariateNormalTriL))):
            raise ValueError(f"components: expected tfd.MultivariateNormalTriL or a subclass of it, got {components!r}")
        logits, loc, numbers = self._blocks(params)
        scale = {"full": _cholesky_2x2, "tril": _fill_scale_tril, "diag": _scale_diag}[self.covariance](numbers)
        if self.covariance == "diag" and issubclass(kind, tfd.MultivariateNormalTriL):
            scale = tf.linalg.diag(scale)
        return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), kind(loc, scale))

    def initial_params(self, data, seed=0, dtype=tf.float32):
        """A start that breaks the symmetry: means on data points far from each other, one covariance for all.

        The means are rows of the data drawn by k-means++ (Arthur and Vassilvitskii 2007) in units of each column's
        standard deviation; the covariance is that of the rows about the nearest mean; the logits are 0.

        Args:
          data: array [N, D] with at least K different rows.
          seed: an int; the same seed gives the same start.
          dtype: of the result.

        Returns:
          A tensor [params_size].

        Raises:
          ValueError: for data of another shape, with NaN or infinity, with fewer different rows than components, or in
            a unit so large that a standard deviation comes out below the 1e-5 of "tril" and "diag".
        """
        k = self.num_components
        rng = arguments.generator(seed)
        rows = self._start_rows(data, k, f"for {k} components", rng)
        spread = _spread(rows)
        points = rows / spread
        nearest = np.zeros(len(rows), int)
        distance = np.full(len(rows), np.inf)  # squared, to the nearest mean so far
        means = []
        for j in range(k):
            weight = np.ones(len(rows)) if j == 0 else distance
            if weight.sum() == 0:
                raise ValueError(f"data: expected at least {k} different rows for {k} components, got {j}")
            means.append(rows[rng.choice(len(rows), p=weight / weight.sum())])
            to_new = np.sum((points - means[-1] / spread) ** 2, axis=1)
            nearest[to_new < distance] = j
            distance = np.minimum(distance, to_new)
        residual = rows - np.stack(means)[nearest]
        covariance = residual.T @ residual / len(rows) + np.diag(0.01 * spread**2)
        scale = {
            "full": lambda: covariance,
            "tril": lambda: np.linalg.cholesky(covariance),
            "diag": lambda: np.sqrt(np.diag(covariance)),
        }[self.covariance]()
        return self._start(np.stack(means), np.broadcast_to(scale, (k, *scale.shape)), dtype)

    def scale_family_params(self, data, seed=0, low=0.03, high=3.0, dtype=tf.float32):
        """A start for high dimensions: the covariance of all the data at K sizes, `low` to `high` times its width.

        Distances between points say little in many dimensions; how far a point lies from the middle says more.
        Only for "tril".

        Args:
          data: array [N, D] with N > D.
          seed: of the small random shifts of the means.
          low, high: the smallest and the largest factor on the standard deviations, 0 < low <= high.
          dtype: of the result.

        Returns:
          A tensor [params_size].

        Raises:
          ValueError: for another covariance than "tril", a range of factors that is not positive, and data as in
            `initial_params`.
        """
        k, d = self.num_components, self.event_size
        if self.covariance != "tril":
            raise ValueError(f"covariance: expected 'tril', got {self.covariance!r}")
        if not 0 < low <= high < np.inf:
            raise ValueError(f"low, high: expected 0 < low <= high, got {low!r} and {high!r}")
        rng = arguments.generator(seed)
        rows = self._start_rows(data, d + 1, f"for a covariance in {d} dimensions", rng)
        covariance = np.cov(rows.T).reshape(d, d)
        factor = np.linalg.cholesky(covariance + 1e-3 * np.diag(_spread(rows) ** 2))
        scale_tril = np.geomspace(low, high, k)[:, np.newaxis, np.newaxis] * factor
        mean = rows.mean(axis=0)
        loc = mean + 0.1 * (rows[rng.choice(len(rows), k)] - mean)
        return self._start(loc, scale_tril, dtype)

    def natural_units(self, params):
        """How far each number of a flat vector may go before its component is another one. "tril" only.

        A mean is measured in standard deviations of its component, a number below the diagonal of the factor in the
        diagonal of its row, a diagonal number in what multiplies that diagonal by e. An optimiser that takes steps
        of one size (Adam) should take them in these: train u in `params + units * u`.

        Args:
          params: [params_size].

        Returns:
          A float32 array [params_size], positive.

        Raises:
          ValueError: for another covariance than "tril", and as `split`.
        """
        if self.covariance != "tril":
            raise ValueError(f"covariance: expected 'tril', got {self.covariance!r}")
        scale_tril = np.asarray(self.split(params).scale_tril, np.float64)
        diagonal = np.diagonal(scale_tril, axis1=-2, axis2=-1)
        units = np.repeat(diagonal[..., np.newaxis], self.event_size, axis=-1)
        # the slope of softplus where it is s is 1 - exp(-s)
        slope = np.maximum(-np.expm1(DIAG_SHIFT - diagonal), DIAG_SHIFT)
        np.einsum("...ii->...i", units)[:] = diagonal / slope
        width = np.sqrt(np.sum(scale_tril**2, axis=-1))
        blocks = np.concatenate([width, tfb.FillTriangular().inverse(np.tril(units))], axis=-1)
        lead = blocks.shape[:-2]
        parts = [np.ones((*lead, self.num_components)), blocks.reshape(*lead, -1)]
        return np.concatenate(parts, axis=-1).astype(np.float32)

    @property
    def scale_name(self):
        return NAMED_PARAMS[self.covariance]._fields[-1]

    def _start_rows(self, data, least, why, rng):
        """`data` as float64 [N, D], N at least `least`; of more than MAX_ROWS_FOR_START rows a random selection."""
        rows = arguments.finite_array("data", data)
        if rows.ndim != 2 or rows.shape[1] != self.event_size:
            raise ValueError(f"data: expected [N, {self.event_size}], got shape {rows.shape}")
        if len(rows) < least:
            raise ValueError(f"data: expected at least {least} rows {why}, got {len(rows)}")
        if len(rows) > MAX_ROWS_FOR_START:
            rows = rng.choice(rows, MAX_ROWS_FOR_START, replace=False)
        return rows.astype(np.float64)

    def _start(self, loc, scale, dtype):
        """Equal logits, and the scale in words that speak of the data where the layout cannot hold it."""
        if self.covariance != "full":
            diagonal = scale if self.covariance == "diag" else np.diagonal(scale, axis1=-2, axis2=-1)
            if diagonal.min() <= DIAG_SHIFT:
                raise ValueError(
                    f"data: expected a unit in which the start's {self.scale_name} lies above {DIAG_SHIFT:g}, got "
                    f"{diagonal.min():.3g}. Divide the data by their standard deviations."
                )
        return self.pack(np.zeros(self.num_components), loc, scale, dtype)

    def _blocks(self, params):
        """logits [..., K], loc [..., K, D] and the unconstrained covariance numbers [..., K, scale_size]."""
        # What has a dtype keeps it; plain Python numbers become float32.
        hint = None if hasattr(params, "dtype") else tf.float32
        params = tf.convert_to_tensor(params, dtype_hint=hint, name="params")
        if not params.dtype.is_floating:
            raise ValueError(f"params: expected floating point numbers, got {params.dtype.name}")
        if params.shape.rank == 0 or params.shape.rank and params.shape[-1] not in (None, self.params_size):
            raise ValueError(f"params: expected params[..., {self.params_size}], got shape {tuple(params.shape)}")
        if not tf.is_symbolic_tensor(params) and not np.all(np.isfinite(params)):
            raise ValueError("params: expected finite numbers, got NaN or infinity")
        block = self.event_size + self.scale_size
        logits, blocks = tf.split(params, [self.num_components, self.num_components * block], axis=-1)
        blocks = tf.reshape(blocks, tf.concat([tf.shape(blocks)[:-1], [self.num_components, block]], axis=0))
        return logits, blocks[..., : self.event_size], blocks[..., self.event_size :]


def _cholesky_2x2(numbers):
    """Lower Cholesky factor [..., 2, 2] from (log sigma1, log sigma2, z): sqrt(1 - tanh(z)^2) is 1 / cosh(z)."""
    log_std1, log_std2, z = tf.unstack(numbers, axis=-1)
    std1, std2 = tf.exp(log_std1), tf.exp(log_std2)
    rows = [[std1, tf.zeros_like(std1)], [std2 * tf.tanh(z), std2 / tf.cosh(z)]]
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)


def _covariance_2x2(numbers):
    log_std1, log_std2, z = tf.unstack(numbers, axis=-1)
    std1, std2 = tf.exp(log_std1), tf.exp(log_std2)
    shared = tf.tanh(z) * std1 * std2
    rows = [[std1**2, shared], [shared, std2**2]]
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)


def _fill_scale_tril(numbers):
    """As in tfpl.MultivariateNormalTriL, to the bit."""
    return tfb.FillScaleTriL(diag_shift=np.array(DIAG_SHIFT, numbers.dtype.as_numpy_dtype))(numbers)


def _scale_diag(numbers):
    return tf.math.softplus(numbers) + DIAG_SHIFT


def _spread(rows):
    """The standard deviation of each column; 1 for a column that is constant but for rounding."""
    spread = rows.std(axis=0)
    return np.where(spread > 1e-12 * np.abs(rows).max(axis=0), spread, 1.0)


def _finite_array(name, value, shape, lead=None):
    """`value` as float64 [..., *shape]; with `lead` given, [*lead, *shape]."""
    array = arguments.finite_array(name, value).astype(np.float64)
    split_at = array.ndim - len(shape)
    if split_at < 0 or array.shape[split_at:] != shape or lead not in (None, array.shape[:split_at]):
        expected = ", ".join(map(str, ("...",) + shape if lead is None else lead + shape))
        raise ValueError(f"{name}: expected shape [{expected}], got shape {array.shape}")
    return array


def _check_diagonal(name, diagonal):
    if np.any(diagonal <= DIAG_SHIFT):
        raise ValueError(f"{name}: expected a diagonal above {DIAG_SHIFT:g}, got {diagonal.min():.3g}")
