"""The kinds of plots of a fit that can be asked for by name."""

from __future__ import annotations

from typing import Literal

PlotKind = Literal["time", "phase", "polar", "residuals", "starts", "profiles"]
