// A step of Kværnø's method, whose coefficients the generator writes as `Implicit`: as in compiled/implicit.py and
// compiled/lu.py.

constexpr int NEWTON_ITERATIONS = 10, NONSTIFF_AFTER = 20;
constexpr double NEWTON_TOLERANCE = 0.01, HUGE_ENTRY = 1e200, NONSTIFF_BOUND = 1.0, THRESHOLD = 0.1;

struct Newton {
  double matrix[N * N], stage_matrix[N * N], weights[N];
  int pivots[N], stage_pivots[N];
};

DEVICE bool exchange_rows(double* matrix, int* pivots, double* weights, int k) {
  if (!isfinite(matrix[k * N + k])) return false;
  double largest = fabs(matrix[k * N + k]) / THRESHOLD;
  int pivot = k;
  for (int i = k + 1; i < N; ++i) {
    const double size = fabs(matrix[i * N + k]);
    const bool is_larger = size * weights[k] > largest * weights[i] && largest * weights[i] > 0.0;
    if (size > 0.0 && (largest == 0.0 || is_larger)) {
      largest = weights[i] > 0.0 ? size * weights[k] / weights[i] : 0.0;
      pivot = i;
    }
  }
  if (matrix[pivot * N + k] == 0.0 || !isfinite(matrix[pivot * N + k])) return false;
  pivots[k] = pivot;
  if (pivot != k) {
    for (int j = 0; j < N; ++j) {
      const double kept = matrix[k * N + j];
      matrix[k * N + j] = matrix[pivot * N + j];
      matrix[pivot * N + j] = kept;
    }
    const double kept = weights[k];
    weights[k] = weights[pivot];
    weights[pivot] = kept;
  }
  return true;
}

ROUTINE bool factorise(double* matrix, int* pivots, double* weights) {
  for (int k = 0; k < N; ++k) {
    if (!exchange_rows(matrix, pivots, weights, k)) return false;
    const double inverse = 1.0 / matrix[k * N + k];
    for (int i = k + 1; i < N; ++i) {
      if (matrix[i * N + k] == 0.0) continue;
      const double factor = matrix[i * N + k] * inverse;
      matrix[i * N + k] = factor;
      for (int j = k + 1; j < N; ++j) matrix[i * N + j] -= factor * matrix[k * N + j];
    }
  }
  for (int k = N - 1; k >= 0; --k) {
    const double kept = weights[k];
    weights[k] = weights[pivots[k]];
    weights[pivots[k]] = kept;
  }
  return true;
}

// right: (N, columns), in place.
template <int COLUMNS>
ROUTINE void back_substitute(const double* matrix, const int* pivots, double* right) {
  for (int k = 0; k < N; ++k) {
    if (pivots[k] == k) continue;
    for (int j = 0; j < COLUMNS; ++j) {
      const double kept = right[k * COLUMNS + j];
      right[k * COLUMNS + j] = right[pivots[k] * COLUMNS + j];
      right[pivots[k] * COLUMNS + j] = kept;
    }
  }
  for (int k = 0; k < N; ++k)
    for (int i = k + 1; i < N; ++i) {
      const double factor = matrix[i * N + k];
      if (factor != 0.0)
        for (int j = 0; j < COLUMNS; ++j) right[i * COLUMNS + j] -= factor * right[k * COLUMNS + j];
    }
  for (int k = N - 1; k >= 0; --k) {
    for (int i = k + 1; i < N; ++i) {
      const double factor = matrix[k * N + i];
      if (factor != 0.0)
        for (int j = 0; j < COLUMNS; ++j) right[k * COLUMNS + j] -= factor * right[i * COLUMNS + j];
    }
    const double inverse = 1.0 / matrix[k * N + k];
    for (int j = 0; j < COLUMNS; ++j) right[k * COLUMNS + j] *= inverse;
  }
}

// I - hγ·J; `infinite` replaces the size of infinite entries of J.
ROUTINE void newton_matrix(double t, const double* z, const double* q, double hg, double infinite, double* matrix) {
  jacobian(t, z, q, matrix);
  for (int i = 0; i < N; ++i) {
    for (int j = 0; j < N; ++j) {
      double& entry = matrix[i * N + j];
      if (isinf(entry)) entry = copysign(infinite, entry);
      entry *= -hg;
    }
    matrix[i * N + i] += 1.0;
  }
}

DEVICE double norm_of_jacobian(const Solve& s, const Settings& settings, const double* z, double hg, Newton& newton) {
  for (int i = 0; i < N; ++i) newton.weights[i] = s.absolute[i] + settings.rtol * fabs(z[i]);
  double norm = 0.0;
  for (int i = 0; i < N; ++i) {
    double row = 0.0;
    for (int j = 0; j < N; ++j) row += fabs(newton.matrix[i * N + j] - (i == j ? 1.0 : 0.0)) * newton.weights[j];
    if (newton.weights[i] > 0.0) norm = maximum(norm, row / newton.weights[i]);
  }
  return norm / hg;
}

ROUTINE bool solve_stage(const Solve& s, const Settings& settings, double t, double hg, const double* base,
                         double* trial, const Newton& newton, const double* old) {
  double last = 0.0, eta = 1.0, rate[N], change[N];
  for (int iteration = 0; iteration < NEWTON_ITERATIONS; ++iteration) {
    rates(t, trial, s.q, rate);
    for (int i = 0; i < N; ++i) change[i] = base[i] + hg * rate[i] - trial[i];
    back_substitute<1>(newton.matrix, newton.pivots, change);
    double total = 0.0;
    for (int i = 0; i < N; ++i) {
      const double size = fmax(fabs(old[i]), fabs(trial[i]));
      const double ratio = change[i] / (TINY + s.absolute[i] + settings.rtol * size);
      total += ratio * ratio;
      trial[i] += change[i];
    }
    const double norm = sqrt(total / N);
    if (!isfinite(norm)) return false;
    if (iteration > 0) {
      const double theta = last > 0.0 ? norm / last : 0.0;
      if (theta >= 1.0) return norm <= NEWTON_TOLERANCE;
      eta = theta / (1.0 - theta);
    }
    if (eta * norm <= NEWTON_TOLERANCE || norm == 0.0) return true;
    last = norm;
  }
  return false;
}

ROUTINE bool stage_sensitivities(const Solve& s, double t, double hg, const double* base, double* trial,
                                 double* rate, Newton& newton) {
  for (int k = N; k < ROW; ++k) trial[k] = 0.0;  // J·S + ∂f/∂p with S = 0 is ∂f/∂p
  rates_with_sensitivities(t, trial, s.q, rate);
  newton_matrix(t, trial, s.q, hg, HUGE_ENTRY, newton.stage_matrix);
  if (!factorise(newton.stage_matrix, newton.stage_pivots, newton.weights)) return false;
  for (int k = N; k < ROW; ++k) trial[k] = base[k] + hg * rate[k];
  back_substitute<(M > 0 ? M : 1)>(newton.stage_matrix, newton.stage_pivots, trial + N);
  return true;
}

struct ImplicitStep {
  double squared_norm, norm_of_jacobian;
};

ROUTINE ImplicitStep implicit_step(const Solve& s, const Settings& settings, double h, const double* z,
                                   double (*stages)[ROW], double* trial, Newton& newton) {
  const double hg = h * Implicit::GAMMA;
  newton_matrix(s.t, z, s.q, hg, 0.0, newton.matrix);
  const double norm = norm_of_jacobian(s, settings, z, hg, newton);
  if (!factorise(newton.matrix, newton.pivots, newton.weights)) return {NO_CONVERGENCE, norm};
  double base[ROW];
  for (int index = 1; index < Implicit::STAGES; ++index) {
    const double time = s.t + Implicit::c(index) * h;
    for (int k = 0; k < ROW; ++k) {
      double total = 0.0;
      for (int j = 0; j < index; ++j) total += Implicit::a(index, j) * stages[j][k];
      base[k] = z[k] + h * total;
    }
    for (int i = 0; i < N; ++i) trial[i] = base[i] + hg * stages[index - 1][i];
    if (!solve_stage(s, settings, time, hg, base, trial, newton, z)) return {NO_CONVERGENCE, norm};
    if (M > 0 && !stage_sensitivities(s, time, hg, base, trial, stages[index], newton)) return {NO_CONVERGENCE, norm};
    for (int k = 0; k < ROW; ++k) stages[index][k] = (trial[k] - base[k]) * (1.0 / hg);
  }
  const auto error = [&](int k) {
    double total = 0.0;
    for (int j = 0; j < Implicit::STAGES; ++j) total += Implicit::error(j) * stages[j][k];
    return h * total;
  };
  const double squared = squared_norm<false>(s, settings, error, error, z, trial, follows(s, settings), stages[0],
                                             stages[Implicit::STAGES - 1]);
  return {squared, norm};
}

DEVICE bool is_nonstiff(Solve& s, double norm_of_jacobian, double h) {
  s.nonstiff = h * norm_of_jacobian < NONSTIFF_BOUND ? s.nonstiff + 1 : 0;
  return s.nonstiff >= NONSTIFF_AFTER;
}

// Removes the error of stiff components from an interpolated state (COLUMNS = 1), or from its sensitivities.
template <int COLUMNS>
ROUTINE void correct_dense_output(const Solve& s, double t, double hg, double* row, const double* derivative, int first,
                                  Newton& newton) {
  double rate[ROW];
  newton_matrix(t, row, s.q, hg, HUGE_ENTRY, newton.stage_matrix);
  if (!factorise(newton.stage_matrix, newton.stage_pivots, newton.weights)) return;
  rates_with_sensitivities(t, row, s.q, rate);
  double* right = rate + first;
  for (int k = 0; k < N * COLUMNS; ++k) right[k] = hg * (right[k] - derivative[first + k]);
  for (int turn = 0; turn < 2; ++turn) {
    back_substitute<COLUMNS>(newton.stage_matrix, newton.stage_pivots, right);
    for (int k = 0; k < N * COLUMNS; ++k) row[first + k] += turn == 0 ? right[k] : -right[k];
  }
}

template <class Output>
ROUTINE void implicit_dense_outputs(Solve& s, double h, double reached, const double* z, double (*stages)[ROW],
                                    Newton& newton, Output& output) {
  double row[ROW], derivative[ROW];
  while (s.written < output.count && output.time(s.written) <= reached) {
    const double time = output.time(s.written), theta = (time - s.t) / h;
    for (int k = 0; k < ROW; ++k) row[k] = z[k], derivative[k] = 0.0;
    for (int i = 0; i < Implicit::STAGES; ++i) {
      double weight = 0.0, change = 0.0;
      for (int d = Implicit::DEGREE - 1; d >= 0; --d) {
        weight = (weight + Implicit::interpolant(i, d)) * theta;
        change = change * theta + (d + 1) * Implicit::interpolant(i, d);
      }
      for (int k = 0; k < ROW; ++k) {
        row[k] += h * weight * stages[i][k];
        derivative[k] += change * stages[i][k];
      }
    }
    correct_dense_output<1>(s, time, Implicit::GAMMA * h, row, derivative, 0, newton);
    if (M > 0) correct_dense_output<(M > 0 ? M : 1)>(s, time, Implicit::GAMMA * h, row, derivative, N, newton);
    for (int k = 0; k < ROW; ++k) output.write(s.written, k, row[k]);
    ++s.written;
  }
}
