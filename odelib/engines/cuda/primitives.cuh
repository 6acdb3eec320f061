// Functions that generated equations call, as in compiled/primitives.py; and how each compiler marks functions.
//
// The same text is compiled by NVRTC for a GPU and, in tests, by the host's compiler. Before it the generator defines
// N (states), M (unknowns), VALUES (parameters and constants), BORDERS, WITH_IMPLICIT and WITH_ZEROS: see source.py.

#ifdef __CUDACC__
#define DEVICE __device__ __forceinline__
#define MEMBER __device__ __forceinline__
#define INFINITE __longlong_as_double(0x7ff0000000000000LL)
#define ROUTINE __device__ __noinline__
#else
#include <cmath>
#define DEVICE static inline
#define MEMBER inline
#define INFINITE __builtin_huge_val()
#define ROUTINE static
using std::copysign; using std::isfinite; using std::isinf; using std::isnan;
#endif

// One row of numbers: the states, then for each state its sensitivities.
constexpr int ROW = N + N * M;
// Loops over short rows are unrolled, so that rows are in registers; those over long ones are not.
constexpr int UNROLL = ROW <= 32 ? ROW : 1;

DEVICE double minimum(double a, double b) { return a < b || isnan(a) ? a : b; }
DEVICE double maximum(double a, double b) { return a > b || isnan(a) ? a : b; }
DEVICE double sign(double a) { return a > 0.0 ? 1.0 : (a < 0.0 ? -1.0 : 0.0 * a); }
DEVICE double minimum_weight(double a, double b) { return a < b ? 1.0 : (a == b ? 0.5 : 0.0); }
DEVICE double guarded_product(double factor, double derivative) { return derivative == 0.0 ? 0.0 : factor * derivative; }
DEVICE double power_by_base(double base, double exponent) {
  return exponent == 0.0 ? 0.0 : exponent * pow(base, exponent - 1.0);
}
DEVICE double power_by_exponent(double base, double exponent, double power) {
  return base == 0.0 && exponent >= 0.0 ? 0.0 : power * log(base);
}
DEVICE double not_negative(double argument, double tolerance) {
  return argument >= 0.0 ? argument : (argument >= -tolerance ? 0.0 : INFINITE - INFINITE);
}
DEVICE double not_negative_if_broken(double argument, double tolerance, double exponent) {
  return argument >= 0.0 || exponent == floor(exponent) ? argument : not_negative(argument, tolerance);
}
DEVICE double up_to_one(double argument, double tolerance) {
  if (fabs(argument) <= 1.0) return argument;
  return fabs(argument) <= 1.0 + tolerance ? copysign(1.0, argument) : INFINITE - INFINITE;
}
DEVICE double from_one(double argument, double tolerance) {
  return argument >= 1.0 ? argument : (argument >= 1.0 - tolerance ? 1.0 : INFINITE - INFINITE);
}
// An entry of the Jacobian, to be multiplied with the sensitivities of a state: 0 if it is infinite and these are 0.
DEVICE double slope(double entry, const double* sensitivities) {
  if (fabs(entry) < INFINITE) return entry;
  for (int j = 0; j < M; ++j)
    if (sensitivities[j] != 0.0) return entry;
  return 0.0;
}
