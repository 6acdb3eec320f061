"""Numbers beyond double precision, giant integers, and things that are no numbers: 422, where they stand."""

from __future__ import annotations

from tests.service.hostile.case import BARE, Case, decay, least, refused

BEYOND = [
    refused(body(pointer, BARE + number), pointer)
    for body, pointer in (
        (least, "/data/values/prey/0"),
        (least, "/data/values/predator/3"),
        (least, "/data/times/3"),
        (least, "/data/times/0"),
        (least, "/data/start_time"),
        (least, "/parameters/alpha"),
        (least, "/initial_state/predator"),
        (least, "/data/initial_state/prey"),
        (least, "/time_limit_seconds"),
        (least, "/seed"),
        (decay, "/parameters/k/guess"),
        (decay, "/parameters/k/upper"),
        (decay, "/initial_state/x/guess"),
        (decay, "/system/constants/c"),
        (decay, "/data/constants/c"),
        (decay, "/data/sigma/seen/2"),
        (decay, "/solver/rtol"),
        (decay, "/solver/max_steps"),
        (decay, "/stages/0/steps"),
        (decay, "/stages/0/learning_rate"),
        (decay, "/stages/1/initial_step_norm"),
        (decay, "/predictions/0/times/1"),
    )
    for number in ("1e400", "-1e400", "1e99999999999999999999", "1" + "0" * 400, "-" + "9" * 5_000, "7" * 100_000)
]

NO_NUMBER = [
    refused(body(pointer, value), pointer)
    for body, pointer in (
        (least, "/data/values/prey/1"),
        (least, "/data/times/1"),
        (least, "/parameters/beta"),
        (decay, "/parameters/k/lower"),
        (decay, "/system/constants/c"),
        (decay, "/data/sigma/seen/0"),
        (decay, "/solver/atol"),
        (decay, "/stages/0/learning_rate"),
        (decay, "/predictions/0/times/0"),
    )
    for value in (True, "1", "", "1e3", [1.0])
]

NO_COUNT = [
    refused(decay(pointer, value), pointer)
    for pointer in ("/stages/0/steps", "/stages/1/steps", "/solver/max_steps")
    for value in (0, -1, 1.5, 1e-300, True, "10", None)
]

NULLS = [
    refused(body(pointer, None), pointer)
    for body, pointer in (
        (least, "/system"), (least, "/data"), (least, "/data/times"), (least, "/data/times/2"), (least, "/data/values"),
        (least, "/data/values/prey"), (least, "/data/start_time"), (least, "/parameters"), (least, "/parameters/gamma"),
        (least, "/initial_state"), (least, "/initial_state/prey"), (least, "/stages"), (least, "/solver"),
        (least, "/predictions"), (least, "/labels"), (least, "/uncertainty"), (decay, "/parameters/k/guess"),
        (decay, "/parameters/k/scale"), (decay, "/data/sigma"), (decay, "/data/sigma/seen"), (decay, "/system/states"),
        (decay, "/system/equations/x"), (decay, "/stages/0/kind"), (decay, "/predictions/0/name"),
    )
]  # fmt: skip

# Underflow is 0, and beyond 2**53 a double is what it is.
RIGHT = [
    Case(decay("/data/times/0", BARE + "1e-400"), 202),
    Case(decay("/data/times/0", BARE + "-0"), 202),
    Case(decay("/data/values/seen/0", BARE + "1" + "0" * 300), 202),
    Case(decay("/data/values/seen/0", BARE + "0." + "0" * 1000 + "1"), 202),
    Case(decay("/data/values/seen/0", BARE + "1." + "0" * 100_000), 202),
    Case(decay("/data/values/seen/0", BARE + "9007199254740993"), 202),
    Case(decay("/data/values/seen/0", BARE + "1e-99999999999999999999"), 202),
    Case(decay("/stages/0/steps", BARE + "3.0"), 202),
]

CASES = [*BEYOND, *NO_NUMBER, *NO_COUNT, *NULLS, *RIGHT]
