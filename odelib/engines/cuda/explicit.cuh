// A step of the explicit method whose coefficients the generator writes as `Explicit`: as in compiled/explicit.py.

constexpr double STABILITY_BOUND = 3.25;
constexpr int STIFF_AFTER = 15, RESET_AFTER = 6, CHECK_EVERY = 10;

// The number of a row in the argument of a stage: y + h·Σ a[i][j]·k[j].
template <int I>
DEVICE double argument_of(const double* z, double (*stages)[ROW], double h, int k) {
  double total = 0.0;
#pragma unroll
  for (int j = 0; j < I; ++j)
    if (Explicit::a(I, j) != 0.0) total += Explicit::a(I, j) * stages[j][k];
  return z[k] + h * total;
}

template <int I, int LAST>
struct Stages {  // computes the stages from I to before LAST; the argument of the last one is left in `argument`
  static MEMBER void compute(const Solve& s, double t, double h, const double* z, double (*stages)[ROW],
                             double* argument) {
#pragma unroll UNROLL
    for (int k = 0; k < ROW; ++k) argument[k] = argument_of<I>(z, stages, h, k);
    rates_with_sensitivities(t + Explicit::c(I) * h, argument, s.q, stages[I]);
    Stages<I + 1, LAST>::compute(s, t, h, z, stages, argument);
  }
};
template <int LAST>
struct Stages<LAST, LAST> {
  static MEMBER void compute(const Solve&, double, double, const double*, double (*)[ROW], double*) {}
};

DEVICE double explicit_step(const Solve& s, const Settings& settings, double h, const double* z,
                            double (*stages)[ROW], double* trial) {
  constexpr int MAIN = Explicit::MAIN;
  Stages<1, MAIN>::compute(s, s.t, h, z, stages, trial);
  const auto error = [&](int k) {
    double total = 0.0;
#pragma unroll
    for (int j = 0; j < MAIN; ++j)
      if (Explicit::error(j) != 0.0) total += Explicit::error(j) * stages[j][k];
    return h * total;
  };
  const auto low = [&](int k) {
    double total = 0.0;
#pragma unroll
    for (int j = 0; j < MAIN; ++j)
      if (Explicit::error_low(j) != 0.0) total += Explicit::error_low(j) * stages[j][k];
    return h * total;
  };
  return squared_norm<Explicit::TWO_ESTIMATES>(s, settings, error, low, z, trial, follows(s, settings), stages[0],
                                               stages[MAIN - 1]);
}

DEVICE bool is_stiff(Solve& s, const Settings& settings, double h, const double* z, double (*stages)[ROW],
                     const double* trial) {
  ++s.accepted;
  if (s.stability_limited == 0 && s.accepted % CHECK_EVERY != 0) return false;
  constexpr int MAIN = Explicit::MAIN;
  const auto moved = [&](int k) { return trial[k] - argument_of<MAIN - 2>(z, stages, h, k); };
  const auto turned = [&](int k) { return stages[MAIN - 1][k] - stages[MAIN - 2][k]; };
  const bool rising = follows(s, settings);
  const double distance = squared_norm<false>(s, settings, moved, moved, z, trial, rising, stages[0], stages[MAIN - 1]);
  const double change = squared_norm<false>(s, settings, turned, turned, z, trial, rising, stages[0], stages[MAIN - 1]);
  if (h * h * change > STABILITY_BOUND * STABILITY_BOUND * distance && distance > 0.0) {
    ++s.stability_limited;
    s.accuracy_limited = 0;
  } else if (++s.accuracy_limited >= RESET_AFTER) {
    s.stability_limited = 0;
  }
  return s.stability_limited >= STIFF_AFTER;
}

template <class Output>
DEVICE void explicit_dense_outputs(Solve& s, double h, double reached, const double* z, double (*stages)[ROW],
                                   Output& output) {
  double spare[ROW];
  Stages<Explicit::MAIN, Explicit::STAGES>::compute(s, s.t, h, z, stages, spare);
  while (s.written < output.count && output.time(s.written) <= reached) {
    const double theta = (output.time(s.written) - s.t) / h;
    double weights[Explicit::STAGES];
#pragma unroll
    for (int j = 0; j < Explicit::STAGES; ++j) {
      weights[j] = 0.0;
#pragma unroll
      for (int d = Explicit::DEGREE - 1; d >= 0; --d) weights[j] = (weights[j] + Explicit::interpolant(j, d)) * theta;
    }
#pragma unroll UNROLL
    for (int k = 0; k < ROW; ++k) {
      double total = 0.0;
#pragma unroll
      for (int j = 0; j < Explicit::STAGES; ++j)
        if (Explicit::interpolates(j)) total += weights[j] * stages[j][k];
      output.write(s.written, k, z[k] + h * total);
    }
    ++s.written;
  }
}
