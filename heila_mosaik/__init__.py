"""Co-simulation of the HEILA platform on mosaik."""

import os

# Matrices here are small: threads of a BLAS cost more than they give (12 ms instead of 0.1 ms for a 30x30 Cholesky
# factorisation on a busy machine).  Set before numpy is imported; a value of the user's own stays.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from heila_mosaik._version import __version__  # noqa: E402 - threads come first

__all__ = ["__version__"]
