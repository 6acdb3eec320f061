"""When a fit has converged: only the predicted gain decides, never an optimiser's own stopping rule.

The textbook's rule, a small norm of the gradient, depends on the units of the unknowns and of the loss, and a small
change of the loss may as well mean that an optimiser is stuck. The gain that the Gauss–Newton matrix predicts depends
on neither, and it can be compared with the noise.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import lsq_linear

from odelib.arrays import Reals
from odelib.errors import SolveError
from odelib.likelihood.fisher_information import fisher_information
from odelib.likelihood.measurements import Model
from odelib.likelihood.residual_tests import structured
from odelib.objective.objective import Evaluation, GaussNewton, NotFinite, Objective
from odelib.objective.switches import MEETS
from odelib.objective.unknowns import Unknowns

NEGLIGIBLE_GAIN = 1e-3  # of the noise variance
NO_RESPONSE = 1e-3  # of the noise: an unknown whose change by its magnitude changes the residuals by less has no effect
AS_A_CONSTANT = 1e-6  # R² up to which a model describes an observable no better than a constant would
ROUGH = 1e-3  # of an unknown: where such a change passes through the data's whole range, the loss has many valleys
WELL_DESCRIBED, BADLY_DESCRIBED = 0.95, 0.5  # R² of the best valley of a rough loss, and of any other
KINK = 0.1  # of the threshold: a point at which an absolute term is smaller than this is at its kink


def is_converged(objective: Objective, at: Evaluation) -> bool:
    """Whether a point is an optimum. Raises `SolveError` or `NotFinite` if its Gauss–Newton matrix has no value."""
    return is_optimum(objective, at, objective.gauss_newton(at.coordinates))


def is_optimum(objective: Objective, at: Evaluation, gauss_newton: GaussNewton) -> bool:
    """Whether the further gain that the Gauss–Newton matrix predicts at a point is below the threshold.

    Not on a plateau nor in a wrong valley, where the matrix predicts no gain because it knows nothing of what lies
    beyond.
    """
    threshold = gain_threshold(objective, at)
    is_stationary = (
        predicted_gain(objective.unknowns, at, gauss_newton, threshold, noise_deviation(objective, at)) < threshold
    )
    if not (is_stationary or _is_least_at_switches(objective, at, gauss_newton, threshold)):
        return False
    return not is_blind(objective, at, gauss_newton)


def is_blind(objective: Objective, at: Evaluation, gauss_newton: GaussNewton) -> bool:
    """Whether a point is stationary for a reason that tells nothing about optima: a plateau, or a wrong valley."""
    return is_on_plateau(objective, at, gauss_newton) or is_in_wrong_valley(objective, at, gauss_newton)


def _is_least_at_switches(objective: Objective, at: Evaluation, gauss_newton: GaussNewton, threshold: float) -> bool:
    """Whether a point is a minimum although its gradient is not 0, because switching times meet measurements there.

    There the gradient jumps in the directions that move these times. It is a minimum if the loss rises on both sides of
    each, and no gain is predicted in the directions that leave the times where they are.
    """
    unknowns = objective.unknowns
    scales = unknowns.magnitudes(at.coordinates)
    free = ~unknowns.active_bounds(at.coordinates, at.gradient)
    happened = objective.happened(at.coordinates)
    by_switches = objective.switches.at_measurements(at.coordinates, happened) * np.where(free, scales, 0.0)
    by_switches = by_switches[by_switches.any(axis=1)]
    if not len(by_switches):
        return False
    _, lengths, directions = np.linalg.svd(by_switches, full_matrices=True)
    staying = directions[int((lengths > 1e-9 * lengths[0]).sum()) :].T
    gradient = np.where(free, at.gradient * scales, 0.0) @ staying
    jacobian = (gauss_newton.jacobian * np.where(free, scales, 0.0)) @ staying
    if staying.shape[1]:
        every = np.ones(staying.shape[1], dtype=bool)
        inverse = fisher_information(jacobian, every, noise_deviation(objective, at)).inverse
        if 0.5 * gradient @ inverse @ gradient >= threshold:
            return False
    return all(_rises_on_both_sides(objective, at, row / (row @ row) * scales) for row in by_switches)


def _rises_on_both_sides(objective: Objective, at: Evaluation, direction: Reals) -> bool:
    """Whether the loss rises both ways in a direction whose unit moves a switching time by the series' duration.

    By the gradients just off the kink: losses there differ by less than the solver's error.
    """
    for side in (-1.0, 1.0):
        place = objective.unknowns.clip(at.coordinates + side * 3 * MEETS * direction)
        try:
            if side * objective.evaluate(place).gradient @ direction < 0:
                return False
        except (SolveError, NotFinite):
            return False
    return True


def is_on_plateau(objective: Objective, at: Evaluation, gauss_newton: GaussNewton) -> bool:
    """Whether the loss is flat at a point because the model does not respond to the unknowns there.

    So it is if no unknown has any effect on the residuals, as where a process is over before the first measurement, or
    if some have none and the model describes the data no better than a constant. The effect is that of a change of an
    unknown by its magnitude. At the limit, the standard error of the unknown would be a thousand times its magnitude.
    """
    if at.loss == 0 or not objective.unknowns.count:
        return False
    responses = np.linalg.norm(gauss_newton.jacobian * objective.unknowns.magnitudes(at.coordinates), axis=0)
    has_no_effect = responses <= NO_RESPONSE * np.sqrt(noise_variance(objective, at))
    if has_no_effect.all():
        return gain_threshold(objective, at) < at.loss or objective.measurements.is_likelihood
    if not has_no_effect.any():
        return False
    values = r_squared(objective, at)
    return len(values) > 0 and max(values) <= AS_A_CONSTANT


def is_in_wrong_valley(objective: Objective, at: Evaluation, gauss_newton: GaussNewton) -> bool:
    """Whether a point is the bottom of one of many valleys of a rough loss, and does not describe the data.

    Over many Lyapunov times of a chaotic system, or many periods of an oscillator, hardly any change of an unknown
    takes the model through all values of the data. The loss then has a valley wherever they happen to agree for a
    while, and only one of them is right: there, residuals are noise.
    """
    if at.loss == 0 or not objective.unknowns.count:
        return False
    output = objective.model_output(at.coordinates, at.states)
    change = ROUGH * gauss_newton.jacobian * objective.unknowns.magnitudes(at.coordinates)
    if 0.5 * float(np.linalg.norm(change, 2)) ** 2 < objective.measurements.loss_of_spread(output.model, output.scales):
        return False
    values = list(objective.measurements.r_squared(output.model).values())
    if not values or min(values) >= WELL_DESCRIBED:
        return False
    return max(values) < BADLY_DESCRIBED or _has_structured_residuals(objective, output.model)


def _has_structured_residuals(objective: Objective, model: Model) -> bool:
    residuals = objective.measurements.residuals(model)
    return bool(structured([column for series in residuals for column in series.items()]))


def r_squared(objective: Objective, at: Evaluation) -> list[float]:
    """Return R² of each observable."""
    output = objective.model_output(at.coordinates, at.states)
    return list(objective.measurements.r_squared(output.model).values())


def is_already_converged(objective: Objective, best: Evaluation) -> bool:
    """Whether earlier stages have reached an optimum, so that a stage has nothing left to do.

    False at the guess: a stage that is asked for is always tried once.
    """
    if np.array_equal(best.coordinates, objective.unknowns.start):
        return False
    try:
        return is_converged(objective, best)
    except (SolveError, NotFinite):
        return False


def gain_threshold(objective: Objective, at: Evaluation) -> float:
    """The predicted gain below which the fit has converged, in units of the loss.

    1e-3·s² with s² = loss/(observations − free unknowns), or 1e-3 under a likelihood, but not less than what the
    solver's error adds to the loss of a perfect fit.
    """
    # A step d that gains G = ½·dᵀHd changes no unknown by more than dᵢ² <= 2G·(H⁻¹)ᵢᵢ (Cauchy–Schwarz). (H⁻¹)ᵢᵢ is its
    # variance under a likelihood, and its variance over 2s² for a sum of squares: at most 5 % of a standard error.
    output = objective.model_output(at.coordinates, at.states)
    solver_error = objective.measurements.solver_error(output.model, output.scales)
    return max(NEGLIGIBLE_GAIN * noise_variance(objective, at), solver_error)


def noise_variance(objective: Objective, at: Evaluation) -> float:
    """The variance of the residuals in the units of the loss: s² of a sum of squares, 1 of a likelihood."""
    if objective.measurements.is_likelihood:
        return 1.0
    return at.loss / max(objective.measurements.observations - objective.unknowns.count, 1)


def noise_deviation(objective: Objective, at: Evaluation) -> float:
    """The standard deviation of the noise in the units of the residuals, 1 under a likelihood."""
    return float(np.sqrt(max(noise_variance(objective, at), 0.0)))


def predicted_gain(
    unknowns: Unknowns, at: Evaluation, gauss_newton: GaussNewton, threshold: float, noise: float
) -> float:
    """By how much a Gauss–Newton step would lower the loss: ½·gᵀBg.

    g is the gradient and B the inverse of the Gauss–Newton matrix H = JᵀJ, both without flat directions and without
    unknowns at active bounds: the model gᵀd + ½·dᵀHd of the change of the loss is least at d = −Bg.

    At kinks of absolute terms |kᵢ·x + …| the loss has no gradient but a set of subgradients, r + Σ sᵢ·kᵢ with any sᵢ
    between −1 and 1, and x is a minimum if 0 is one of them (Rockafellar, Convex Analysis, 1970, section 27). The
    subgradient for which ½·gᵀBg is least is found as a least-squares problem with bounds: with RᵀR = B it minimises
    ½‖R·(r + Σ sᵢ·kᵢ)‖².
    """
    scales = unknowns.magnitudes(at.coordinates)
    free = ~unknowns.active_bounds(at.coordinates, at.gradient)
    inverse = fisher_information(gauss_newton.jacobian * scales, free, noise).inverse
    gradient = at.gradient * scales
    kinks, signs = gauss_newton.absolute_terms.near_kinks(KINK * threshold)
    if not len(kinks):
        return float(0.5 * gradient @ inverse @ gradient)
    kinks = kinks * scales
    eigenvalues, eigenvectors = np.linalg.eigh(inverse)
    root = np.sqrt(np.maximum(eigenvalues, 0.0))[:, None] * eigenvectors.T
    rest = gradient - signs @ kinks
    return float(lsq_linear(root @ kinks.T, -root @ rest, bounds=(-1.0, 1.0)).cost)
