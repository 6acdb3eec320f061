"""Compare what goes over the wire in this checkout with another one: python -m bench.interface OTHER_CHECKOUT.

The OpenAPI documents are compared without their human texts. Thousands of damaged requests are validated by both; the
pointers of their mistakes are compared, not the sentences. So are the codes of outcomes, warnings and errors that the
sources name. Exit status 1 if anything differs.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HUMAN_TEXTS = ("description", "title", "summary", "example", "examples")
WRONG_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 0.5, 1e400, "", "a", "t", "1/0", "x +", "unknown", [], [1], ["a"], {}, {"a": 1}, {"guess": None},
)  # fmt: skip
VALIDATE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from odelib.errors import ProblemError
from odelib.problem.request import parse_problem
for line in sys.stdin:
    try:
        parse_problem(json.loads(line))
        print("[]")
    except ProblemError as error:
        print(json.dumps(sorted(mistake.pointer for mistake in error.errors)))
"""


def without_human_texts(node: Any, inside: str = "") -> Any:
    """A JSON document without titles, descriptions and examples; properties of those names stay."""
    if isinstance(node, list):
        return [without_human_texts(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    named = inside in ("properties", "schemas")
    return {k: without_human_texts(v, k) for k, v in node.items() if named or k not in HUMAN_TEXTS}


def differences(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Where two JSON documents differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key), after.get(key), f"{place}/{key}")
    elif before != after:
        yield f"{place}: {json.dumps(before)[:100]} became {json.dumps(after)[:100]}"


def damaged_requests(root: Path) -> Iterator[Any]:
    """The examples' requests with one thing at a time removed, replaced or added."""
    requests = [json.loads(path.read_text()) for path in sorted((root / "examples" / "requests").glob("*.json"))]
    for request in [*requests[:1], *FULL_REQUESTS]:
        short = _shortened(request)
        yield short
        for place in _places(short):
            for value in WRONG_VALUES:
                yield _changed(short, place, value)
            yield _changed(short, place, None, remove=True)
            yield _changed(short, [*place[:-1], "unknown_field"], 1)


FULL_REQUESTS: list[dict[str, Any]] = [
    {
        "system": {
            "states": ["x", "y"],
            "parameters": ["k", "s"],
            "constants": {"c": 1.0},
            "equations": {"x": "s*c - k*x", "y": "where(t > 1, k*x, 0) - 0.3*y"},
            "observables": {"x": "x", "total": "x + y"},
            "derived": {"half": "log(2)/k"},
        },
        "experiments": [
            {"name": "a", "times": [0, 1, 2], "values": {"x": [1, 2, None], "total": [2, 3, 4]}, "sigma": {"x": 0.1}},
            {"name": "b", "times": [0, 1], "values": {"x": [1, 2]}, "initial_state": {"y": "c*k"}, "start_time": -1},
        ],
        "per_experiment": ["s"],
        "parameters": {
            "k": {"guess": 1, "lower": 0.1, "upper": 9, "scale": "log", "prior": {"distribution": "lognormal",
                  "median": 1, "sigma": 1}},
            "s": {"guess": 1, "fixed": True},
        },
        "initial_state": {"x": {"guess": 1, "lower": 0}, "y": "2*k"},
        "noise": {
            "x": {"distribution": "normal", "proportional": "estimate"},
            "total": {"distribution": "student-t", "sigma": "estimate", "degrees_of_freedom": 3,
                      "prior": {"distribution": "half-normal", "scale": 1}},
        },
        "penalty": {"l1": 0.1, "names": ["k"], "toward": "guess"},
        "stages": [{"kind": "adam", "steps": 3}, {"kind": "multi_start", "starts": 3, "when": "doubtful"}],
        "solver": {"engine": "compiled", "method": "kvaerno5", "rtol": 1e-7, "max_steps": 100},
        "predictions": [{"name": "p", "times": [3, 4], "experiment": "a", "values": {"x": [1, None]}}],
        "hold_out": {"experiments": ["b"]},
        "uncertainty": "profile",
        "seed": 1,
        "starts": 4,
        "labels": {"a": "b"},
    }
]  # fmt: skip


def _shortened(node: Any) -> Any:
    """The same request with at most three entries in each list of numbers."""
    if isinstance(node, dict):
        return {key: _shortened(value) for key, value in node.items()}
    if isinstance(node, list):
        few = node[:3] if all(isinstance(entry, int | float | None) for entry in node) else node
        return [_shortened(entry) for entry in few]
    return node


def _places(node: Any, place: tuple[Any, ...] = ()) -> Iterator[list[Any]]:
    if place:
        yield list(place)
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        yield from _places(value, (*place, key))


def _changed(request: Any, place: list[Any], value: Any, *, remove: bool = False) -> Any:
    changed = copy.deepcopy(request)
    owner = changed
    for key in place[:-1]:
        owner = owner[key]
    if remove:
        del owner[place[-1]]
    elif isinstance(owner, dict) or isinstance(place[-1], int):
        owner[place[-1]] = value
    return changed


def pointers(root: Path, bodies: list[str]) -> list[str]:
    """The pointers of each body's mistakes, by the code in `root`."""
    run = subprocess.run(
        [sys.executable, "-c", VALIDATE, str(root)],
        input="\n".join(bodies), capture_output=True, text=True, check=True, cwd=root,
    )  # fmt: skip
    return run.stdout.splitlines()


def codes(root: Path) -> set[str]:
    """Error codes and warning codes: the enumerations of the OpenAPI document, and `type`s of problems."""
    document = (root / "openapi.json").read_text()
    enumerated = {word for words in re.findall(r'"enum": \[([^\]]*)\]', document) for word in words.split(",")}
    sources = [path.read_text() for folder in ("odelib", "service", "worker") for path in (root / folder).rglob("*.py")]
    raised = {code for text in sources for code in re.findall(r'(?:FitError|ServiceError)\(\s*f?"([a-z_{}]+)"', text)}
    return {word.strip() for word in enumerated} | raised


def main() -> int:
    """Print every difference; the exit status says whether there is one."""
    here, other = Path(__file__).parents[1], Path(sys.argv[1]).resolve()
    documents = [without_human_texts(json.loads((root / "openapi.json").read_text())) for root in (other, here)]
    found = [f"openapi.json {line}" for line in differences(*documents)]
    bodies = [json.dumps(body) for body in damaged_requests(here)]
    for body, before, after in zip(bodies, pointers(other, bodies), pointers(here, bodies), strict=True):
        if before != after:
            found.append(f"pointers {before} became {after} for {body[:2000]}")
    found += [f"code {code}" for code in sorted(codes(other) ^ codes(here))]
    print("\n".join(found))
    print(f"{len(bodies)} requests validated by both, {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
