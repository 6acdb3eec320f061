"""Knots → polynomials between them.

`cubic` is scipy's natural CubicSpline. `pchip` has the slopes of scipy's PchipInterpolator: weighted harmonic means of
the neighbouring differences, 0 at an extremum (F. N. Fritsch and J. Butland, SIAM J. Sci. Stat. Comput. 5, 1984).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from odelib.arrays import Integers, Reals
from odelib.problem.protocol import Interpolation, Knots

SAME_INSTANT = 1e-12  # relative: times that are closer are one
DEGREES: dict[Interpolation, int] = {"previous": 0, "next": 0, "linear": 1, "cubic": 3, "pchip": 3}


@dataclass(frozen=True)
class Pieces:
    """An input and its derivatives as polynomials in t − origin.

    starts: (P,), when each begins, in order, the first infinitely early. origins: (P,). coefficients: (P, 4, m), of the
    powers from 0 to 3; the first of m is the input's own, the others are the derivatives of it.
    """

    starts: Reals
    origins: Reals
    coefficients: Reals

    def at(self, times: Reals) -> Reals:
        """The values (T, m), at a border those of the piece that begins there."""
        place = np.maximum(np.searchsorted(self.starts, times, side="right") - 1, 0)
        x, c = (times - self.origins[place])[:, None], self.coefficients[place]
        values: Reals = c[:, 0] + x * (c[:, 1] + x * (c[:, 2] + x * c[:, 3]))
        return values


def pieces_between(knots: Knots, values: Reals, first: float, last: float) -> Pieces:
    """The polynomials of an input that are needed between two times. values: (K, m), and their derivatives.

    Outside the knots `refuse` is as `hold`: nobody asks there.
    """
    times = np.array(knots.times)
    inner = _coefficients(knots.interpolation, times, values)
    if knots.outside == "repeat":
        period = times[-1] - times[0]
        rounds = np.arange(math.floor((first - times[0]) / period), math.floor((last - times[0]) / period) + 1)
        starts = (times[:-1] + rounds[:, None] * period).reshape(-1)
        return Pieces(np.concatenate([[-np.inf], starts[1:]]), starts, np.tile(inner, (len(rounds), 1, 1)))
    ends = np.zeros((2, 4, values.shape[1]))
    if knots.outside != "zero":
        ends[:, 0] = values[[0, -1]]
    starts = np.concatenate([[-np.inf], times])
    origins = np.concatenate([times[:1], times])
    return _without_repetition(Pieces(starts, origins, np.concatenate([ends[:1], inner, ends[1:]])))


def values_at(knots: Knots, values: Reals, times: Reals) -> Reals:
    """The input and its derivatives at times (T,), (T, m): at a knot the knot's own value."""
    if len(times) == 0:
        return np.zeros((0, values.shape[1]))
    found = pieces_between(knots, values, float(times.min()), float(times.max())).at(times)
    own, folded = np.array(knots.times), times
    if knots.outside == "repeat":
        folded = own[0] + np.mod(times - own[0], own[-1] - own[0])
    place = _nearest(own, folded)
    is_knot = np.abs(own[place] - folded) <= SAME_INSTANT * np.maximum(np.abs(times), np.abs(own[place]))
    if knots.outside == "repeat":  # the last knot is the first of the next round, but for `next`, which looks back
        place = np.where(place % (len(own) - 1) == 0, len(own) - 1 if knots.interpolation == "next" else 0, place)
    found[is_knot] = values[place[is_knot]]
    return found


def _nearest(own: Reals, times: Reals) -> Integers:
    after = np.clip(np.searchsorted(own, times), 1, max(len(own) - 1, 1))
    if len(own) == 1:
        return np.zeros(len(times), dtype=np.int64)
    return np.where(times - own[after - 1] <= own[after] - times, after - 1, after)


def _without_repetition(pieces: Pieces) -> Pieces:
    """Without the borders between equal constants: a solver need not stop there."""
    c = pieces.coefficients
    is_same = (c[1:] == c[:-1]).all((1, 2)) & (c[1:, 1:] == 0).all((1, 2))
    kept = np.concatenate([[True], ~is_same])
    return Pieces(pieces.starts[kept], pieces.origins[kept], c[kept])


def _coefficients(interpolation: Interpolation, times: Reals, values: Reals) -> Reals:
    """Of the polynomials between neighbouring knots, (K − 1, 4, m)."""
    coefficients = np.zeros((len(times) - 1, 4, values.shape[1]))
    if len(times) == 1:
        return coefficients
    widths = np.diff(times)[:, None]
    if interpolation == "cubic":
        powers = CubicSpline(times, values, bc_type="natural").c  # (4, K − 1, m), the highest first
        return np.ascontiguousarray(powers[::-1].transpose(1, 0, 2))
    coefficients[:, 0] = values[1:] if interpolation == "next" else values[:-1]
    slopes = np.diff(values, axis=0) / widths
    if interpolation == "linear":
        coefficients[:, 1] = slopes
    elif interpolation == "pchip":
        at_knots = _pchip_slopes(times, values)
        coefficients[:, 1] = at_knots[:-1]
        coefficients[:, 2] = (3 * slopes - 2 * at_knots[:-1] - at_knots[1:]) / widths
        coefficients[:, 3] = (at_knots[:-1] + at_knots[1:] - 2 * slopes) / widths**2
    return coefficients


def _pchip_slopes(times: Reals, values: Reals) -> Reals:
    """The slopes at the knots and their derivatives, (K, m)."""
    widths, rates = np.diff(times), np.diff(values, axis=0) / np.diff(times)[:, None]
    if len(times) == 2:
        return np.repeat(rates, 2, axis=0)
    slopes = np.empty_like(values)
    h0, h1, d0, d1 = widths[:-1], widths[1:], rates[:-1, 0], rates[1:, 0]
    is_flat = d0 * d1 <= 0
    weight0, weight1 = h0 + 2 * h1, 2 * h0 + h1
    safe0, safe1 = np.where(is_flat, 1.0, d0), np.where(is_flat, 1.0, d1)
    mean = (weight0 + weight1) / (weight0 / safe0 + weight1 / safe1)
    share = mean**2 / (weight0 + weight1)
    by0, by1 = share * weight0 / safe0**2, share * weight1 / safe1**2
    slopes[1:-1] = np.where(is_flat, 0.0, by0)[:, None] * rates[:-1] + np.where(is_flat, 0.0, by1)[:, None] * rates[1:]
    slopes[1:-1, 0] = np.where(is_flat, 0.0, mean)
    slopes[0] = _end_slope(widths[0], widths[1], rates[0], rates[1])
    slopes[-1] = _end_slope(widths[-1], widths[-2], rates[-1], rates[-2])
    return slopes


def _end_slope(h0: float, h1: float, d0: Reals, d1: Reals) -> Reals:
    """The slope at an end: of the parabola through three knots, kept in the direction of the neighbouring values."""
    slope: Reals = ((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1)
    if np.sign(slope[0]) != np.sign(d0[0]):
        return np.zeros_like(slope)
    if np.sign(d0[0]) != np.sign(d1[0]) and abs(slope[0]) > 3 * abs(d0[0]):
        return 3 * d0
    return slope
