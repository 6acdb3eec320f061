"""The packages that the engine is compared with, one file each.

Each has `gradients(problem, rtol, atol)`: for each name a function without arguments that computes the sum of squares
of states minus data, and its derivatives with respect to the parameters and then the initial values. If it takes part
in `bench/work_precision.py`, it also has `solves(problem)`: for each name a function of the relative tolerance that
computes the states (T, n).
"""
