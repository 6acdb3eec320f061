"""The systems that can be asked for by name, one file each."""

from collections.abc import Mapping

from odelib.problem.catalogue import kuramoto, lorenz, lotka_volterra, stuart_landau
from odelib.problem.system import System

CATALOGUE: Mapping[str, System] = {
    module.SYSTEM.name: module.SYSTEM for module in (lotka_volterra, stuart_landau, lorenz, kuramoto)
}
