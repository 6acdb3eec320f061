// What is kept of a solve, the error norm, the tolerances, the first step and the step controller: as in
// compiled/step_control.py and compiled/tolerances.py, whose comments say why.

enum Status { RUNNING, DONE, MAX_STEPS, NOT_FINITE, STEP_TOO_SMALL, STIFF = 100 };  // STIFF: solve again with WITH_IMPLICIT

constexpr int MAX_WITHOUT_VALUE = 500, USED_EXPLICIT = 1, USED_IMPLICIT = 2;
constexpr double WHOLE_STEP = 1e-5, NO_CONVERGENCE = 1e30, SAFETY = 0.9, MIN_FACTOR = 0.2, MAX_FACTOR = 10.0;
constexpr double BETA = 0.04, TINY = 1e-300, MIN_LOG_ERROR = -9.210340371976182;  // log(1e-4)
constexpr double AUTO_ATOL = 0.01, EMERGED = 0.01, FALLEN = 0.5, ROUNDING = 1e-12, FED = 1e-6, ERRORS = 10.0;

struct Settings {
  double rtol;
  const double* limits;  // (N,), of the absolute tolerances; the tolerances themselves if not is_auto
  int is_auto, max_steps, is_implicit, may_switch;
};

// A solve: where it is, its step controller, its counters, and the tolerances.
struct Solve {
  double t, step, log_last_error, max_growth, next_update, since, end, span;
  int steps, written, is_implicit, used, last_not_finite, nonstiff, stability_limited, accuracy_limited, accepted;
  int without_value;
  double absolute[N], sizes[N], inverse_magnitudes[M > 0 ? M : 1];  // 0 for an unknown that is 0
  bool from_zero[N];
#if WITH_ZEROS  // columns by unknowns that are 0 have tolerances, sizes and beginnings of their own
  double column_absolute[N * M], column_sizes[N * M];
  bool column_from_zero[N * M];
#endif
  double q[VALUES + (BORDERS ? 1 + N : 0) + 1];
};

DEVICE bool follows(const Solve& s, const Settings& settings) {
  bool found = settings.is_auto;
#if WITH_ZEROS
  for (int j = 0; j < M; ++j) found = found || s.inverse_magnitudes[j] == 0.0;
#endif
  return found;
}

DEVICE double absolute_tolerance(const Solve& s, int i, int j) {
#if WITH_ZEROS
  if (s.inverse_magnitudes[j] == 0.0) return s.column_absolute[i * M + j];
#endif
  return s.absolute[i] * s.inverse_magnitudes[j];
}

// The squared error norm: the largest of the states' and of each sensitivity column's; not finite if any entry is not.
// error, low: functions of the number in the row. rising: whether what is 0, without a tolerance and at rest may err by
// what its new rate gives.
template <bool TWO, class Error, class Low>
DEVICE double squared_norm(const Solve& s, const Settings& settings, Error error, Low low, const double* before,
                           const double* after, bool rising, const double* old_rate, const double* new_rate) {
  double worst = 0.0, everything = 0.0;
#pragma unroll UNROLL
  for (int column = -1; column < M; ++column) {
    double sums = 0.0, low_sums = 0.0;
#pragma unroll UNROLL
    for (int i = 0; i < N; ++i) {
      const int k = column < 0 ? i : N + i * M + column;
      const double atol = column < 0 ? s.absolute[i] : absolute_tolerance(s, i, column);
      double scale = TINY + atol + settings.rtol * fmax(fabs(before[k]), fabs(after[k]));
      if (rising && atol == 0.0 && before[k] == 0.0 && old_rate[k] == 0.0)
        scale += settings.rtol * s.span * fabs(new_rate[k]);
      const double ratio = error(k) / scale;
      sums += ratio * ratio;
      if (TWO) {
        const double other = low(k) / scale;
        low_sums += other * other;
      }
    }
    const double mean = TWO ? sums * (1.0 / N) * (sums / (1e-300 + sums + 0.01 * low_sums)) : sums * (1.0 / N);
    worst = mean > worst ? mean : worst;
    everything += mean;
  }
  return isfinite(everything) ? worst : everything;
}

template <class Error>
DEVICE double squared_norm(const Solve& s, const Settings& settings, Error error, const double* before,
                           const double* after) {
  return squared_norm<false>(s, settings, error, error, before, after, false, before, before);
}

DEVICE void set_atol(Solve& s, const Settings& settings, int i, double atol) {
  s.absolute[i] = fmin(atol, settings.limits[i]);
  if (BORDERS) s.q[VALUES + 1 + i] = ERRORS * s.absolute[i];
}

DEVICE void follow_size(Solve& s, const Settings& settings, int i, double size, double largest) {
  const double own = settings.rtol * fmax(size, largest);
  if (s.from_zero[i] && size <= FALLEN * largest && own > EMERGED * s.absolute[i]) {
    s.from_zero[i] = false;
    set_atol(s, settings, i, AUTO_ATOL * own);
  } else if (AUTO_ATOL * own > s.absolute[i]) {
    set_atol(s, settings, i, AUTO_ATOL * own);
  }
}

DEVICE void update_tolerances(Solve& s, const Settings& settings, const double* z) {
#pragma unroll UNROLL
  for (int i = 0; i < N; ++i) {
    const double size = fabs(z[i]), largest = s.sizes[i];
    s.sizes[i] = fmax(size, largest);
    if (settings.is_auto) follow_size(s, settings, i, size, largest);
  }
#if WITH_ZEROS
  for (int j = 0; j < M; ++j) {
    if (s.inverse_magnitudes[j] != 0.0) continue;
    double largest = 0.0;
    for (int i = 0; i < N; ++i) {
      double& own = s.column_sizes[i * M + j];
      own = fmax(fabs(z[N + i * M + j]), own);
      if (own > largest * s.sizes[i] && s.sizes[i] > 0.0) largest = own / s.sizes[i];
    }
    for (int i = 0; i < N; ++i)
      s.column_absolute[i * M + j] =
          fmax(AUTO_ATOL * settings.rtol * s.column_sizes[i * M + j], ROUNDING * largest * s.sizes[i]);
  }
#endif
}

// The sizes of what began at 0, from those of what feeds it. sizes: (N,), 0 where missing.
DEVICE void inherited_sizes(double elapsed, const double* jac, double* sizes) {
  int left = 0, found = 1;
  for (int i = 0; i < N; ++i) left += sizes[i] == 0.0;
  for (int sweep = 0; found > 0 && left > 0; ++sweep) {
    found = 0;
    for (int place = 0; place < N; ++place) {
      const int i = sweep % 2 == 0 ? place : N - 1 - place;
      if (sizes[i] != 0.0) continue;
      double fed = 0.0;
      for (int j = 0; j < N; ++j)
        if (sizes[j] > 0.0) fed = fmax(fed, fabs(jac[i * N + j]) * sizes[j]);
      if (fed > 0.0 && isfinite(fed)) {
        sizes[i] = fed / fmax(1.0 / elapsed, fabs(jac[i * N + i]));
        found += sizes[i] > 0.0;
      }
    }
    left -= found;
  }
}

// The rates (N,) that depend on no state: f - J*z, where that is more than a rounding error.
DEVICE void feed_from_outside(const double* z, const double* rate, const double* jac, double* fed) {
  for (int i = 0; i < N; ++i) {
    double left = rate[i], terms = 0.0;
    for (int j = 0; j < N; ++j) {
      if (z[j] == 0.0) continue;  // its derivative may be infinite at 0
      left -= jac[i * N + j] * z[j];
      terms += fabs(jac[i * N + j] * z[j]);
    }
    fed[i] = isfinite(left) && fabs(left) > FED * terms ? fabs(left) : 0.0;
  }
}

// The largest absolute tolerances (N,) that errors inherited from other states allow; a routine that is rarely called.
ROUTINE void inherited_tolerances(double t, double elapsed, double rtol, const double* y, const double* rate,
                                  const double* q, const double* sizes, const bool* from_zero, double* allowed) {
  double jac[N * N], found[N], fed[N];
  jacobian(t, y, q, jac);
  feed_from_outside(y, rate, jac, fed);
  for (int i = 0; i < N; ++i)
    found[i] = !from_zero[i] ? sizes[i] : fed[i] > 0.0 ? fed[i] / fmax(1.0 / elapsed, fabs(jac[i * N + i])) : 0.0;
  inherited_sizes(elapsed, jac, found);
  for (int i = 0; i < N; ++i) allowed[i] = from_zero[i] ? rtol * found[i] : 0.0;
}

// rate: at z.
DEVICE void follow_sizes(Solve& s, const Settings& settings, const double* z, const double* rate) {
  if (!follows(s, settings)) return;
  update_tolerances(s, settings, z);
  if (!(s.t >= s.next_update)) return;
  const double elapsed = s.t - s.since + s.step;
  bool any = false;
  for (int i = 0; i < N; ++i) any = any || s.from_zero[i];
  if (settings.is_auto && any) {
    double y[N], f[N], sizes[N], allowed[N], q[sizeof(s.q) / sizeof(double)];  // copies: what is passed leaves the registers
    bool from_zero[N];
    for (int i = 0; i < N; ++i) y[i] = z[i], f[i] = rate[i], sizes[i] = s.sizes[i], from_zero[i] = s.from_zero[i];
    for (int i = 0; i < int(sizeof(s.q) / sizeof(double)); ++i) q[i] = s.q[i];
    inherited_tolerances(s.t, elapsed, settings.rtol, y, f, q, sizes, from_zero, allowed);
#pragma unroll UNROLL
    for (int i = 0; i < N; ++i)
      if (s.from_zero[i] && allowed[i] > s.absolute[i]) set_atol(s, settings, i, allowed[i]);
  }
#if WITH_ZEROS
  double jac[N * N], sizes[N];
  jacobian(s.t, z, s.q, jac);
  for (int j = 0; j < M; ++j) {
    if (s.inverse_magnitudes[j] != 0.0) continue;
    for (int i = 0; i < N; ++i) sizes[i] = s.column_from_zero[i * M + j] ? 0.0 : s.column_sizes[i * M + j];
    inherited_sizes(elapsed, jac, sizes);
    for (int i = 0; i < N; ++i)
      if (s.column_from_zero[i * M + j])
        s.column_sizes[i * M + j] = fmax(s.column_sizes[i * M + j], sizes[i] / AUTO_ATOL);
  }
#endif
  s.next_update = s.t + elapsed;
}

DEVICE double first_step(const Solve& s, const Settings& settings, int order, const double* z, const double* rate) {
  const auto itself = [&](int k) { return z[k]; };
  const auto moving = [&](int k) { return z[k] == 0.0 ? 0.0 : rate[k]; };
  const double d0 = sqrt(squared_norm(s, settings, itself, z, z)), d = sqrt(squared_norm(s, settings, moving, z, z));
  const double relative_rate = d0 >= 1e-5 && d * s.span >= 1e-5 ? d / d0 : 0.0;
  const double h = fmin(relative_rate > 0.0 ? 0.01 / relative_rate : 1e-6 * s.span, s.span);
  double trial[ROW], change[ROW];
#pragma unroll UNROLL
  for (int k = 0; k < ROW; ++k) trial[k] = z[k] + h * rate[k];
  rates_with_sensitivities(s.t + h, trial, s.q, change);
#pragma unroll UNROLL
  for (int k = 0; k < ROW; ++k) change[k] = trial[k] != 0.0 || z[k] != 0.0 ? change[k] - rate[k] : 0.0;
  const auto of_rate = [&](int k) { return rate[k]; };
  const auto of_change = [&](int k) { return change[k]; };
  const double d1 = sqrt(squared_norm(s, settings, of_rate, z, trial));
  const double d2 = sqrt(squared_norm(s, settings, of_change, z, trial)) / h;
  if (!isfinite(d2)) return h * 1e-3;
  const double inverse_scale = fmax(relative_rate, d1 > 0.0 ? d2 / d1 : 0.0);
  if (inverse_scale * s.span <= 1e-15) return fmin(100.0 * h, s.span);
  const double h1 = d1 > 0.0 ? pow(0.01 * inverse_scale / d1, 1.0 / order) / inverse_scale : s.span;
  return fmin(fmin(100.0 * h, h1), s.span);
}

DEVICE bool accept_step(Solve& s, double norm, int error_order, double h) {
  const double logarithm = 0.5 * log(norm > 1e-60 || isnan(norm) ? norm : 1e-60);
  const double exponent = 1.0 / (error_order + 1.0) - 0.75 * BETA;
  if (!(norm <= 1.0)) {
    const bool finite = isfinite(norm);
    s.last_not_finite = !finite;
    s.without_value += !(norm < NO_CONVERGENCE);
    s.max_growth = 1.0;
    s.step = h * (finite ? fmax(MIN_FACTOR, SAFETY * exp(-exponent * logarithm)) : MIN_FACTOR);
    return false;
  }
  const double factor = SAFETY * exp(BETA * s.log_last_error - exponent * logarithm);
  s.step = h * fmin(s.max_growth, fmax(MIN_FACTOR, factor));
  s.max_growth = MAX_FACTOR;
  if (h > WHOLE_STEP * s.span) s.without_value = 0;
  s.log_last_error = fmax(logarithm, MIN_LOG_ERROR);
  return true;
}
