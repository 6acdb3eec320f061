"""Compare odefit with other packages, and check how often its statements are true.

numpy's BLAS uses one thread, as in a worker.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # several threads are slower for such small matrices, and slow each other down
