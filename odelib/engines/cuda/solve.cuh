// The loop over steps of one trajectory, as in compiled/batch_loop.py, and the kernel: one thread a trajectory.
//
// Without WITH_IMPLICIT a member that turns out to be stiff ends as STIFF, to be solved again by a kernel that has the
// implicit method: its code would take the registers of all others. The outcome is that of one solve.

// All arrays are on the device. times: (times_of, count of times), times_of 1 if shared. initial_state: (B, N). values:
// (B, VALUES). members: which to solve, (size,); null for 0, 1, 2, …
// states: (T, N, B), sensitivities: (T, N, M, B), the member last so that neighbouring threads write side by side; B is
// the stride.
// outcome: (3, B), status, steps, methods. ends: (1 + N, B), where the solve ended, and the state there.
struct Batch {
  long long size, stride, times_count, times_of;
  const double *times, *initial_state, *values;
  const long long* members;
  double *states, *sensitivities;
  long long* outcome;
  double* ends;
  Settings settings;
};

struct Output {
  const Batch& batch;
  long long member;
  int count;
  const double* times;
  MEMBER double time(int row) const { return times[row]; }
  MEMBER void write(int row, int k, double value) const {
    if (k < N)
      batch.states[(row * N + k) * batch.stride + member] = value;
    else
      batch.sensitivities[(row * (long long)(N * M) + k - N) * batch.stride + member] = value;
  }
  MEMBER void write_row(int row, const double* z) const {
#pragma unroll UNROLL
    for (int k = 0; k < ROW; ++k) write(row, k, z[k]);
  }
};

constexpr int ALL_STAGES = WITH_IMPLICIT && Implicit::STAGES > Explicit::STAGES ? Implicit::STAGES : Explicit::STAGES;

struct Trajectory {
  Solve s;
  double z[ROW], stages[ALL_STAGES][ROW];
};

DEVICE int start(Trajectory& m, const Batch& batch, const Output& output, long long b) {
  Solve& s = m.s;
  const Settings& settings = batch.settings;
  s = Solve{};
  s.t = s.next_update = s.since = output.time(0);
  s.end = output.time(output.count - 1);
  s.span = s.end - s.t;
  s.is_implicit = settings.is_implicit;
#pragma unroll UNROLL
  for (int i = 0; i < VALUES; ++i) s.q[i] = batch.values[b * VALUES + i];
  if (BORDERS) s.q[VALUES] = ERRORS * settings.rtol;
#pragma unroll UNROLL
  for (int k = 0; k < ROW; ++k) m.z[k] = k < N ? batch.initial_state[b * N + (k < N ? k : 0)] : 0.0;
#pragma unroll UNROLL
  for (int j = 0; j < M; ++j) {
    const int index = unknown(j);
    const double magnitude = fabs(index < N ? m.z[index] : s.q[index < N ? 0 : index - N]);
    s.inverse_magnitudes[j] = magnitude > 0.0 ? 1.0 / magnitude : 0.0;
    if (index < N) m.z[N + index * M + j] = 1.0;
  }
#pragma unroll UNROLL
  for (int i = 0; i < N; ++i) set_atol(s, settings, i, settings.is_auto ? 0.0 : INFINITE);
  update_tolerances(s, settings, m.z);
  while (s.written < output.count && output.time(s.written) <= s.t) output.write_row(s.written++, m.z);
  if (s.written == output.count) return DONE;
  rates_with_sensitivities(s.t, m.z, s.q, m.stages[0]);
  s.step = first_step(s, settings, s.is_implicit ? Implicit::ORDER : Explicit::ORDER, m.z, m.stages[0]);
  s.log_last_error = MIN_LOG_ERROR;
  s.max_growth = MAX_FACTOR;
#pragma unroll UNROLL
  for (int i = 0; i < N; ++i) s.from_zero[i] = m.z[i] == 0.0;
#if WITH_ZEROS
  for (int k = 0; k < N * M; ++k) s.column_from_zero[k] = m.z[N + k] == 0.0 && m.stages[0][N + k] == 0.0;
#endif
  follow_sizes(s, settings, m.z, m.stages[0]);
  bool finite = true;
#pragma unroll UNROLL
  for (int k = 0; k < ROW; ++k) finite = finite && isfinite(m.stages[0][k]);
  return finite ? RUNNING : NOT_FINITE;
}

DEVICE void switch_method(Solve& s) {
  s.is_implicit = 1 - s.is_implicit;
  s.nonstiff = s.stability_limited = 0;
  s.step *= 0.5;
  s.log_last_error = MIN_LOG_ERROR;
}

// One step, tried once; returns RUNNING, DONE or why the solve ended.
DEVICE int advance(Trajectory& m, const Batch& batch, Output& output) {
  Solve& s = m.s;
  const Settings& settings = batch.settings;
  if (s.steps >= settings.max_steps) return MAX_STEPS;
  ++s.steps;
  const bool is_last = s.t + 1.01 * s.step >= s.end;
  const double h = is_last ? s.end - s.t : s.step, reached = is_last ? s.end : s.t + h;
  if (!(s.t + h > s.t) || s.without_value > MAX_WITHOUT_VALUE) return s.last_not_finite ? NOT_FINITE : STEP_TOO_SMALL;
  double trial[ROW];
  bool switches = false;
  int main = Explicit::MAIN;
#if WITH_IMPLICIT
  Newton newton;
  if (s.is_implicit) {
    s.used |= USED_IMPLICIT;
    main = Implicit::STAGES;
    const ImplicitStep found = implicit_step(s, settings, h, m.z, m.stages, trial, newton);
    if (!accept_step(s, found.squared_norm, Implicit::ERROR_ORDER, h)) return RUNNING;
    switches = settings.may_switch && is_nonstiff(s, found.norm_of_jacobian, h);
    if (output.time(s.written) <= reached) implicit_dense_outputs(s, h, reached, m.z, m.stages, newton, output);
  } else
#endif
  {
    s.used |= USED_EXPLICIT;
    if (!accept_step(s, explicit_step(s, settings, h, m.z, m.stages, trial), Explicit::ERROR_ORDER, h)) return RUNNING;
    switches = settings.may_switch && is_stiff(s, settings, h, m.z, m.stages, trial);
    if (switches && !WITH_IMPLICIT) return STIFF;
    if (output.time(s.written) <= reached) explicit_dense_outputs(s, h, reached, m.z, m.stages, output);
  }
#pragma unroll UNROLL
  for (int k = 0; k < ROW; ++k) m.z[k] = trial[k];
  s.t = reached;
#pragma unroll UNROLL
  for (int k = 0; k < ROW; ++k)  // first same as last
    m.stages[0][k] = WITH_IMPLICIT ? m.stages[main - 1][k] : m.stages[Explicit::MAIN - 1][k];
  follow_sizes(s, settings, m.z, m.stages[0]);
  if (is_last) {
    for (int row = output.count - 1; row >= 0 && output.time(row) >= s.end; --row) output.write_row(row, m.z);
    return DONE;
  }
  if (switches) switch_method(s);
  return RUNNING;
}

DEVICE void finish(const Trajectory& m, const Batch& batch, long long b, int status) {
  batch.outcome[b] = status;
  batch.outcome[batch.stride + b] = m.s.steps;
  batch.outcome[2 * batch.stride + b] = m.s.used;
  batch.ends[b] = m.s.t;
#pragma unroll UNROLL
  for (int i = 0; i < N; ++i) batch.ends[(1 + i) * batch.stride + b] = m.z[i];
}

DEVICE void solve_member(const Batch& batch, long long place) {
  const long long b = batch.members ? batch.members[place] : place;
  const double* times = batch.times + (batch.times_of > 1 ? b * batch.times_count : 0);
  Output output{batch, b, int(batch.times_count), times};
  Trajectory m;
  int status = start(m, batch, output, b);
  while (status == RUNNING) status = advance(m, batch, output);
  finish(m, batch, b, status);
}

#define ARGUMENTS                                                                                                      \
  long long size, long long stride, long long times_count, long long times_of, const double *times,                    \
      const double *initial_state, const double *values, const long long *members, double *states,                     \
      double *sensitivities, long long *outcome, double *ends, const double *limits, double rtol, long long is_auto,   \
      long long max_steps, long long is_implicit, long long may_switch
#define BATCH                                                                                                          \
  { size, stride, times_count, times_of, times, initial_state, values, members, states, sensitivities, outcome, ends,  \
    { rtol, limits, int(is_auto), int(max_steps), int(is_implicit), int(may_switch) } }

#ifdef __CUDACC__
extern "C" __global__ void __launch_bounds__(THREADS) solve(ARGUMENTS) {
  const Batch batch = BATCH;
  const long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (place < size) solve_member(batch, place);
}
#else
extern "C" void solve(ARGUMENTS) {
  const Batch batch = BATCH;
  for (long long place = 0; place < size; ++place) solve_member(batch, place);
}
#endif
