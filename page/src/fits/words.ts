/** What the codes of a result mean, in words for somebody who has not read the documentation. */

interface Explained {
  title: string;
  advice: string;
}

const WARNINGS: Record<string, Explained> = {
  at_bound: {
    title: "At the edge of the allowed range",
    advice: "The best value may lie outside. Widen the bounds, unless they are physical limits.",
  },
  not_converged: {
    title: "Not finished",
    advice: "Values and intervals are not final. Continue the fit, or try more starts.",
  },
  prediction_failed: {
    title: "A prediction could not be computed",
    advice: "The fit itself is not affected. Predict a shorter time, or from another state.",
  },
  flat_direction: {
    title: "The data do not settle these values",
    advice:
      "They can be changed together without a visible change of the curve. Fix one of them, give a prior, or measure " +
      "something else as well.",
  },
  another_optimum: {
    title: "Other values fit equally well",
    advice: "The data cannot tell the two apart. Bounds or a prior can, if you know which one makes sense.",
  },
  at_kink: {
    title: "A switching time sits on a measurement",
    advice: "The loss has a kink there, so standard errors describe one side only.",
  },
  grazing_event: {
    title: "An event hardly happens",
    advice: "A small change of the values decides whether it does, so intervals may be far too large or too small.",
  },
  unlocated_jump: {
    title: "A rate jumps where the solver cannot stop",
    advice:
      "The solution slides along a comparison in the equations, so intervals may be wrong. Write the jump as an event, " +
      "or smooth it.",
  },
  penalty_determines: {
    title: "Intervals rest on the penalty of a network",
    advice: "Another l2 may change them.",
  },
  profile_disagrees: {
    title: "The two kinds of interval differ",
    advice: "The loss is not a parabola here. Trust the profile, not the standard error.",
  },
  structured_residuals: {
    title: "The model misses something",
    advice:
      "What is left over follows a pattern or is larger than the scatter of the measurements. Look at the residuals: " +
      "an effect may be missing from the equations, or a better fit may exist.",
  },
  best_found_once: {
    title: "Only one start found this optimum",
    advice: "There may be a better one. Fit again with more starts.",
  },
  no_better_than_constant: {
    title: "A straight line would do as well",
    advice: "The model explains nothing of these observables. Check the equations and the guesses.",
  },
  open_interval: {
    title: "An interval has no end",
    advice: "The data rule out values on one side at most. Measure more, or give a prior.",
  },
  not_finite: {
    title: "Some values are not finite",
    advice: "An expression has no value there, such as the logarithm of something negative.",
  },
  coarse_solver: {
    title: "The answer depends on the solver's tolerance",
    advice: "Fit again with a smaller rtol.",
  },
  no_uncertainty: {
    title: "No intervals",
    advice: "They were asked for but cannot be computed.",
  },
};

const OUTCOMES: Record<string, string> = {
  converged: "Converged",
  early_stopped: "Stopped early",
  step_limit: "Out of steps",
  no_progress: "No progress",
  time_limit: "Out of time",
  cancelled: "Cancelled",
  interrupted: "Interrupted",
};

const STATUSES: Record<string, string> = {
  queued: "Waiting",
  running: "Running",
  succeeded: "Finished",
  failed: "Failed",
  cancelled: "Cancelled",
};

const STAGES: Record<string, string> = {
  adam: "Adam",
  lbfgsb: "L-BFGS-B",
  least_squares: "Least squares",
  multiple_shooting: "Multiple shooting",
  multi_start: "Many starts",
  training: "Training",
  profile: "Profiles",
};

export const warningWords = (code: string): Explained => WARNINGS[code] ?? { title: plain(code), advice: "" };
export const outcomeWords = (code: string): string => OUTCOMES[code] ?? plain(code);
export const statusWords = (code: string): string => STATUSES[code] ?? plain(code);
export const stageWords = (code: string): string => STAGES[code] ?? plain(code);

function plain(code: string): string {
  const words = code.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
