"""Who the engine is measured against, a file each.

A peer has `gradients(problem, rtol, atol)`: by name, functions without arguments that compute the sum of squares of
states minus data and its derivatives, by the parameters first, then by the initial values; and where it takes part
in `bench/work_precision.py`, `solves(problem)`: by name, functions of the relative tolerance that compute the
states (T, n).
"""
