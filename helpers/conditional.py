"""Marginals and conditionals of a mixture of multivariate normals, in closed form; notebook 04 derives them.

Letters: K components, D = event size, N rows; `dims` are the dimensions that are kept (marginal) or known (condition).
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from helpers import arguments
from helpers.distributions import FastMultivariateNormalTriL

tfd = tfp.distributions

LOWER = (  # operators whose matrix is lower triangular
    tf.linalg.LinearOperatorLowerTriangular,
    tf.linalg.LinearOperatorDiag,
    tf.linalg.LinearOperatorScaledIdentity,
    tf.linalg.LinearOperatorIdentity,
)


def marginal(mixture, dims):
    """The mixture of some of the dimensions, the others integrated out.

    Args:
      mixture: `tfd.MixtureSameFamily` of multivariate normals, as a layout's `distribution` gives it: batch shape
        [...], event shape [D].
      dims: one to D different whole numbers from 0 to D - 1, in the order that the result is to have.

    Returns:
      `tfd.MixtureSameFamily`: batch shape [...], event shape [len(dims)], the dtype of `mixture`.

    Raises:
      ValueError: for another kind of distribution, a dimension that is out of range or comes twice, none at all.
    """
    logits, loc, scale = _parts(mixture)
    dims, rest = _split(dims, loc.shape[-1])
    m = len(dims)
    factor = _reordered(scale, dims + rest)[..., :m, :m]
    return _mixture(logits, tf.gather(loc, dims, axis=-1), factor, mixture.dtype)


def condition(mixture, dims, values):
    """The mixture of the remaining dimensions, given the values of some: p(y | x) of a joint mixture of x and y.

    With the known dimensions first, a factor of the covariance is [[A, 0], [B, C]]. Each component stays normal, with
    mean `loc_rest + B A^-1 (values - loc_dims)` and factor C, which does not depend on the values; its weight is its
    responsibility for the values alone. Computed in float64, and finite however far the values lie from all
    components.

    Args:
      mixture: `tfd.MixtureSameFamily` of multivariate normals: batch shape [...], event shape [D].
      dims: the known dimensions, one to D - 1 different whole numbers from 0 to D - 1.
      values: float tensor or array [..., len(dims)], in the order of `dims`. Its leading axes broadcast against the
        batch shape: one mixture and values [N, len(dims)] give N conditional mixtures.

    Returns:
      `tfd.MixtureSameFamily`: batch shape that of both, event shape [D - len(dims)], its dimensions in ascending
      order, the dtype of `mixture`.

    Raises:
      ValueError: as `marginal`; where no dimension remains; for values of another width, of leading axes that do not
        broadcast, NaN or infinity (where they are known: not while tracing).
    """
    logits, loc, scale = _parts(mixture)
    dims, rest = _split(dims, loc.shape[-1])
    if not rest:
        raise ValueError(f"dims: expected at most {loc.shape[-1] - 1}, so that some remain, got all {len(dims)}")
    try:
        values = tf.convert_to_tensor(values, dtype_hint=mixture.dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"values: expected values[..., {len(dims)}], got {values!r:.60} ({error})") from None
    if not values.dtype.is_floating:
        raise ValueError(f"values: expected floating point numbers, got {values.dtype.name}")
    if values.shape.rank == 0 or values.shape.rank and values.shape[-1] not in (None, len(dims)):
        raise ValueError(f"values: expected values[..., {len(dims)}], got shape {tuple(values.shape)}")
    try:
        tf.broadcast_static_shape(values.shape[:-1], mixture.batch_shape)
    except ValueError:
        lead = f"leading axes that broadcast against the batch shape {mixture.batch_shape.as_list()}"
        raise ValueError(f"values: expected {lead}, got shape {tuple(values.shape)}") from None
    if not tf.is_symbolic_tensor(values):
        arguments.finite_array("values", values)
    m = len(dims)
    factor = _reordered(scale, dims + rest)
    apart = tf.cast(values, tf.float64)[..., tf.newaxis, :] - tf.gather(loc, dims, axis=-1)  # [..., K, m]
    z = _solve(factor[..., :m, :m], apart)
    log_det = tf.reduce_sum(tf.math.log(tf.abs(tf.linalg.diag_part(factor)[..., :m])), axis=-1)
    log_joint = tf.nn.log_softmax(logits) - 0.5 * tf.reduce_sum(tf.square(z), axis=-1) - log_det
    new_loc = tf.gather(loc, rest, axis=-1) + tf.linalg.matvec(factor[..., m:, :m], z)
    return _mixture(tf.nn.log_softmax(log_joint), new_loc, factor[..., m:, m:], mixture.dtype)


def _parts(mixture):
    """logits [..., K], loc [..., K, D], factor [..., K, D, D], lower triangular, its diagonal positive; float64."""
    parts = getattr(mixture, "components_distribution", None)
    known = isinstance(parts, (tfd.MultivariateNormalLinearOperator, tfd.MultivariateNormalTriL))
    if not (isinstance(mixture, tfd.MixtureSameFamily) and known):
        kind = type(mixture if parts is None else parts).__name__
        raise ValueError(f"mixture: expected a MixtureSameFamily of multivariate normals, got {kind}")
    weights = mixture.mixture_distribution
    logits = tf.math.log(weights.probs) if weights.logits is None else weights.logits
    loc, scale, lower = parts.mean(), parts.scale.to_dense(), isinstance(parts.scale, LOWER)
    if scale.shape.rank == 2:  # one factor for all components
        scale = tf.repeat(scale[tf.newaxis], loc.shape[-2], axis=0)
    for part in (logits, loc, scale):
        if not tf.is_symbolic_tensor(part) and np.isnan(part).any():
            raise ValueError("mixture: expected numbers, got NaN in its logits, means or factors")
    logits, loc, scale = (tf.cast(part, tf.float64) for part in (logits, loc, scale))
    if lower:  # the sign of a column is free
        diag = tf.linalg.diag_part(scale)
        one = tf.ones_like(diag)
        scale *= tf.where(diag < 0, -one, one)[..., tf.newaxis, :]
    return logits, loc, scale if lower else _lower(scale)


def _split(dims, d):
    """dims as a list, and those that are not among them."""
    try:
        dims = np.asarray(dims)
    except ValueError:  # lists of different lengths
        raise ValueError(f"dims: expected a list of at least one whole number, got {dims!r}") from None
    if dims.ndim != 1 or dims.size == 0 or dims.dtype.kind not in "iu":
        raise ValueError(f"dims: expected a list of at least one whole number, got {dims.tolist()!r}")
    dims = dims.tolist()
    for j in dims:
        if not 0 <= j < d:
            raise ValueError(f"dims: expected numbers from 0 to {d - 1}, got {j}")
        if dims.count(j) > 1:
            raise ValueError(f"dims: expected each dimension once, got {j} twice or more")
    return dims, [j for j in range(d) if j not in dims]


def _reordered(scale, order):
    """The lower factor of the same covariance with its dimensions in another order."""
    if order == list(range(len(order))):
        return scale
    return _lower(tf.gather(scale, order, axis=-2))


def _lower(scale):
    """The lower triangular factor of the covariance scale scale^T.

    By a QR decomposition: scale is R^T Q^T, and Q drops out of the covariance. No covariance is formed, which would
    cost half the digits.
    """
    r = tf.linalg.qr(tf.linalg.matrix_transpose(scale)).r
    sign = tf.sign(tf.linalg.diag_part(r))
    return tf.linalg.matrix_transpose(sign[..., tf.newaxis] * r)


def _solve(factor, rows):
    """factor^-1 rows: factor [..., K, m, m], rows [..., K, m]; nothing larger than either, whatever broadcasts."""
    inverse = tf.linalg.triangular_solve(
        factor, tf.eye(factor.shape[-1], batch_shape=factor.shape[:-2], dtype=factor.dtype)
    )
    return tf.linalg.matvec(inverse, rows)


def _mixture(logits, loc, factor, dtype):
    logits, loc, factor = (tf.cast(part, dtype) for part in (logits, loc, factor))
    return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), FastMultivariateNormalTriL(loc, factor))
