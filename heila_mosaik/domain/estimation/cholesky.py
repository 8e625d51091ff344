"""Cholesky factors of small gain matrices, straight from LAPACK.

The matrices have one row a measurement, so the checks of the general wrappers take longer than the work.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

from heila_mosaik.domain.quantities import FloatArray


def factor(matrix: FloatArray, diagonal: FloatArray) -> FloatArray:
    """Upper Cholesky factor of ``matrix`` (m, m) plus a diagonal (m,); ``matrix`` is overwritten.

    Raises:
        numpy.linalg.LinAlgError: If the sum is not positive definite.
    """
    matrix.flat[:: len(diagonal) + 1] += diagonal
    found, info = dpotrf(matrix, lower=0, clean=0, overwrite_a=0)
    if info:
        raise np.linalg.LinAlgError(f"the gain matrix is not positive definite (row {info})")
    return found


def solve(upper: FloatArray, right: FloatArray) -> FloatArray:
    """Solution for right sides (m,) or (m, k)."""
    return dpotrs(upper, right, lower=0)[0].reshape(right.shape)
