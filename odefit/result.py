"""The result of a fit: the JSON of the service, with its tables as numpy or pandas, which are loaded when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

Json = dict[str, Any]


class Result(Json):
    """The `result` of a fit, a dict as the service returns it.

    >>> result = Result({"parameters": {"k": {"value": 0.5, "standard_error": 0.1}}, "loss": 1.2})
    >>> result.parameters, result["loss"]
    ({'k': 0.5}, 1.2)
    """

    def __init__(self, content: Json, request: Json | Callable[[], Json] | None = None) -> None:
        super().__init__(content)
        self._request = request

    @property
    def request(self) -> Json | None:
        """The request with all defaults, asked for when it is first needed."""
        if callable(self._request):
            self._request = self._request()
        return self._request

    def values_of(self, part: str) -> dict[str, float]:
        """Return the values of `parameters`, `initial_state` or `derived` by name."""
        return {name: estimate["value"] for name, estimate in self.get(part, {}).items()}

    @property
    def parameters(self) -> dict[str, float]:
        """The values of the parameters, by name."""
        return self.values_of("parameters")

    @property
    def converged(self) -> bool:
        """Whether the fit reached an optimum."""
        return bool(self["outcome"]["code"] == "converged")

    def trajectory(self, name: str | None = None) -> Json:
        """Return the trajectory of a series; without a name, the only or first one. Raises `KeyError`."""
        for trajectory in self["trajectories"]:
            if name in (None, trajectory["name"]):
                found: Json = trajectory
                return found
        raise KeyError(name)

    def arrays(self, name: str | None = None, *, dense: bool = False) -> dict[str, np.ndarray]:
        """Return `times`, the states and the observables of a trajectory as numpy arrays, NaN where there is no value.

        dense: on the fine grid for drawing. Needs numpy.
        """
        import numpy as np  # noqa: PLC0415

        trajectory = self.trajectory(name)
        source = trajectory["dense"] if dense else trajectory
        columns = {"times": source["times"], **source["states"], **source["values"]}
        return {column: np.array(values, dtype=float) for column, values in columns.items()}

    def frame(self, name: str | None = None, *, dense: bool = False) -> pd.DataFrame:
        """Return a trajectory as a pandas table with the times as its index. Needs pandas."""
        import pandas as pd  # noqa: PLC0415

        arrays = self.arrays(name, dense=dense)
        return pd.DataFrame(
            {n: a for n, a in arrays.items() if n != "times"}, index=pd.Index(arrays["times"], name="time")
        )

    def estimates(self) -> pd.DataFrame:
        """Return parameters, initial values and derived quantities with their errors as a pandas table."""
        import pandas as pd  # noqa: PLC0415

        parts = ("parameters", "initial_state", "derived")
        rows = {(part, name): estimate for part in parts for name, estimate in self.get(part, {}).items()}
        table = pd.DataFrame.from_dict(rows, orient="index")
        table.index = pd.MultiIndex.from_tuples(list(rows), names=["part", "name"])
        return table

    def covariance(self) -> np.ndarray:
        """Return the covariance matrix; `result["covariance"]["names"]` has the order. Raises `KeyError`."""
        import numpy as np  # noqa: PLC0415

        return np.array(self["covariance"]["matrix"], dtype=float)

    def plot(self) -> Figure:
        """Draw the fit as `odefit fit --plot` does. Needs the whole of odefit, with matplotlib."""
        from odelib.plots.figures import plot_result  # noqa: PLC0415

        request = self.request
        if request is None:
            raise ValueError("the request is needed to draw the data; get the fit with Client.get")
        return plot_result(request, dict(self))
