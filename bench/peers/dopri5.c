/* Dormand and Prince's method with forward sensitivities, as one writes it by hand for one system.

   The compiler knows N, the states, and M, the unknowns; the file that MODEL names defines
   `static inline void rates(double t, const double *z, const double *q, double *out)`, derivatives of states and
   sensitivities. z is the state, then the sensitivities row by row. Error control, first step and interpolant are
   those of odelib/engines/compiled/explicit.py, so that both take the same steps. */
#include <math.h>
#include MODEL

#define SIZE (N + N * M)

static const double A[7][6] = {
    {0},
    {1.0 / 5},
    {3.0 / 40, 9.0 / 40},
    {44.0 / 45, -56.0 / 15, 32.0 / 9},
    {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
    {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
    {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}};
static const double C[7] = {0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1};
static const double E[7] = {-71.0 / 57600, 0, 71.0 / 16695, -71.0 / 1920, 17253.0 / 339200, -22.0 / 525, 1.0 / 40};
static const double P[7][4] = {
    {1, -8048581381.0 / 2820520608, 8663915743.0 / 2820520608, -12715105075.0 / 11282082432},
    {0},
    {0, 131558114200.0 / 32700410799, -68118460800.0 / 10900136933, 87487479700.0 / 32700410799},
    {0, -1754552775.0 / 470086768, 14199869525.0 / 1410260304, -10690763975.0 / 1880347072},
    {0, 127303824393.0 / 49829197408, -318862633887.0 / 49829197408, 701980252875.0 / 199316789632},
    {0, -282668133.0 / 205662961, 2019193451.0 / 616988883, -1453857185.0 / 822651844},
    {0, 40617522.0 / 29380423, -110615467.0 / 29380423, 69997945.0 / 29380423}};

static double norm(const double *e, const double *old, const double *new, const double *w, double rtol, double atol) {
    double worst = 0, total = 0, sums[M];
    for (int j = 0; j < M; j++) sums[j] = 0;
    for (int i = 0; i < N; i++) {
        double ratio = e[i] / (atol + rtol * fmax(fabs(old[i]), fabs(new[i])));
        total += ratio * ratio;
        for (int j = 0; j < M; j++) {
            int k = N + i * M + j;
            ratio = e[k] * w[j] / (atol + rtol * fmax(fabs(old[k]), fabs(new[k])) * w[j]);
            sums[j] += ratio * ratio;
        }
    }
    worst = total;
    for (int j = 0; j < M; j++)
        if (!(sums[j] <= worst)) worst = sums[j];
    return sqrt(worst / N);
}

static double first_step(double t, double span, const double *q, const double *w, double rtol, double atol,
                         const double *z, const double *rate) {
    double trial[SIZE], change[SIZE];
    double d0 = norm(z, z, z, w, rtol, atol), d1 = norm(rate, z, z, w, rtol, atol);
    double h = fmin(d0 < 1e-5 || d1 < 1e-5 ? 1e-6 : 0.01 * d0 / d1, span);
    for (int k = 0; k < SIZE; k++) trial[k] = z[k] + h * rate[k];
    rates(t + h, trial, q, change);
    for (int k = 0; k < SIZE; k++) change[k] -= rate[k];
    double largest = fmax(d1, norm(change, z, z, w, rtol, atol) / h);
    double h1 = largest <= 1e-15 ? fmax(1e-6, h * 1e-3) : pow(0.01 / largest, 1.0 / 5);
    return fmin(fmin(100 * h, h1), span);
}

/* out: (count, SIZE), from z at times[0]. Returns the steps tried, or -1 where it cannot go on. */
static long solve(const double *times, long count, double *z, const double *q, const double *w, double rtol,
                  double atol, long max_steps, double *out) {
    double k[7][SIZE], new[SIZE], error[SIZE];
    double t = times[0], end = times[count - 1], last_error = 1e-4, grow = 10;
    const double exponent = 1.0 / 5 - 0.75 * 0.04;
    long written = 1;
    for (int i = 0; i < SIZE; i++) out[i] = z[i];
    rates(t, z, q, k[0]);
    double step = first_step(t, end - t, q, w, rtol, atol, z, k[0]);
    for (long steps = 0; steps < max_steps; steps++) {
        if (written >= count) return steps;
        int last = t + 1.01 * step >= end;
        double h = last ? end - t : step;
        if (!(t + h > t)) return -1;
        for (int s = 1; s < 7; s++) {
            for (int i = 0; i < SIZE; i++) {
                double sum = 0;
                for (int r = 0; r < s; r++) sum += A[s][r] * k[r][i];
                new[i] = z[i] + h * sum;
            }
            rates(t + C[s] * h, new, q, k[s]);
        }
        for (int i = 0; i < SIZE; i++) {
            double sum = 0;
            for (int r = 0; r < 7; r++) sum += E[r] * k[r][i];
            error[i] = h * sum;
        }
        double e = norm(error, z, new, w, rtol, atol);
        if (!(e <= 1)) {
            grow = 1;
            step = h * (isfinite(e) ? fmax(0.2, 0.9 * pow(e, -exponent)) : 0.2);
            continue;
        }
        double factor = e > 0 ? fmin(grow, fmax(0.2, 0.9 * pow(e, -exponent) * pow(last_error, 0.04))) : 10;
        grow = 10;
        last_error = fmax(e, 1e-4);
        for (; written < count && times[written] <= t + h; written++) {
            double theta = (times[written] - t) / h, b[7];
            for (int r = 0; r < 7; r++)
                b[r] = h * theta * (P[r][0] + theta * (P[r][1] + theta * (P[r][2] + theta * P[r][3])));
            for (int i = 0; i < SIZE; i++) {
                double sum = z[i];
                for (int r = 0; r < 7; r++) sum += b[r] * k[r][i];
                out[written * SIZE + i] = sum;
            }
        }
        if (last) {
            for (int i = 0; i < SIZE; i++) out[(count - 1) * SIZE + i] = new[i];
            written = count;
        }
        for (int i = 0; i < SIZE; i++) z[i] = new[i], k[0][i] = k[6][i];
        t = last ? end : t + h;
        step = h * factor;
    }
    return written >= count ? max_steps : -1;
}

/* The sum of squares of (states - data) and its gradient: parameters, then initial values. */
long gradient(const double *times, long count, const double *y0, const double *q, const double *data, double rtol,
              double atol, long max_steps, double *out, double *loss, double *along) {
    double z[SIZE], w[M];
    for (int i = 0; i < SIZE; i++) z[i] = i < N ? y0[i] : 0;
    for (int i = 0; i < N; i++) z[N + i * M + M - N + i] = 1;
    for (int j = 0; j < M; j++) {
        double value = fabs(j < M - N ? q[j] : y0[j - M + N]);
        w[j] = value > 0 ? value : 1;
        along[j] = 0;
    }
    *loss = 0;
    long steps = solve(times, count, z, q, w, rtol, atol, max_steps, out);
    for (long row = 0; row < count; row++)
        for (int i = 0; i < N; i++) {
            double residual = out[row * SIZE + i] - data[row * N + i];
            *loss += residual * residual;
            for (int j = 0; j < M; j++) along[j] += 2 * residual * out[row * SIZE + N + i * M + j];
        }
    return steps;
}
