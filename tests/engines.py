"""The engines and methods that general tests run over."""

from odelib.problem.solver import ABILITIES

ENGINES = ["compiled", "torchdiffeq"]
COMPILED_METHODS = list(ABILITIES["compiled"].methods)
