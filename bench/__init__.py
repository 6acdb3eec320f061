"""Odefit beside its peers, and how often what it says is true. Numpy's BLAS has one thread, as in a worker."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # several are slower at matrices so small, and get in each other's way
