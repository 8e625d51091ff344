"""Power-flow kernels on compiled arrays: fixed point, block Newton, results and adjoint sensitivities.

The modules know nodes (electrical buses after fusing closed bus-bus couplers) and branches (two-ports), nothing else.
Nodes are numbered in elimination order; slack nodes come last.

numba's file cache looks at the file of a kernel, not at the kernels it calls: after editing one, delete the ``*.nbi``
and ``*.nbc`` files in ``__pycache__``, or callers keep the old code.
"""
