"""The examples in the documentation work as printed, and the documentation describes the whole interface.

The words after the language of a fenced block say how the tests check it:

    json request            a request that is accepted
    json part               some fields of a request, which is accepted with them
    json refused POINTER …  a request that is rejected with exactly these pointers
    json fit, json result, json problem, json batch, json row    responses
    json many               a batch that is accepted
    python run              code that runs, block after block of its page
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from odelib.errors import ProblemError, SolveError
from odelib.fitting import fit
from odelib.optimisers.base import STOP_MESSAGES
from odelib.problem.batches import batch_mistakes, parse_member
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.expressions.vocabulary import FUNCTIONS
from odelib.problem.hold_out import HoldOut
from odelib.problem.noise import DISTRIBUTIONS
from odelib.problem.penalty import Penalty
from odelib.problem.predictions import Prediction
from odelib.problem.priors import PRIORS
from odelib.problem.request import FitProblem, parse_problem
from odelib.problem.series import Experiment, Series
from odelib.problem.simulation import parse_simulation
from odelib.problem.solver import Solver
from odelib.problem.stages import AdamStage, LbfgsbStage, LeastSquaresStage, MultipleShootingStage, MultiStartStage
from odelib.problem.system import SystemDefinition
from odelib.problem.unknowns import Unknown
from odelib.result import OUTCOMES, BatchRow, FitResult, OutcomeCode, WarningCode
from service.cli.main import app
from service.http.errors import ERRORS, invalid_request, problem_response
from service.http.routes.batches import BatchListQuery, ResultsQuery
from service.http.routes.files import PlotQuery
from service.http.routes.fits import FitQuery, ListQuery, SubmitQuery
from service.http.schemas import Batch, Fit, Problem
from worker.attempt_endings import died_too_often, internal_error, no_gpu, out_of_memory

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "index", "tutorial", "command-line", "problem-language", "results", "errors", "routes", "choosing-a-method",
    "how-to-add-a-system", "how-to-add-an-optimiser", "batches",
]  # fmt: skip
RESPONSES: dict[str, type[BaseModel]] = {
    "fit": Fit,
    "result": FitResult,
    "problem": Problem,
    "batch": Batch,
    "row": BatchRow,
}
BASE: dict[str, Any] = {
    "system": "lotka-volterra",
    "data": {"times": [0.0, 0.1, 0.2], "values": {"prey": [1.02, 1.05, 1.11], "predator": [0.97, 0.9, 0.71]}},
    "parameters": {"alpha": 1.2, "beta": 1.0, "gamma": 1.1, "delta": 2.9},
    "initial_state": {"prey": 0.8, "predator": 1.2},
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its page and line, the words after the fence, and its text."""

    page: str
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}.md:{self.line}"


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text("utf-8")


def blocks(info: str) -> list[Block]:
    """Return all blocks whose words begin with `info`."""
    found = []
    for name in PAGES:
        text = page(name)
        for match in re.finditer(r"^```(\S[^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text[: match.start()].count("\n") + 1
            if f"{match[1]} ".startswith(f"{info} "):
                found.append(Block(name, line, match[1], match[2]))
    return found


def test_every_json_and_python_block_says_how_to_check_it() -> None:
    known = ("request", "part", "refused", "fit", "result", "problem", "batch", "row", "many")
    marked = (*(f"json {word}" for word in known), "python run")
    unmarked = [str(b) for b in blocks("json") + blocks("python") if not b.info.startswith(marked)]
    assert unmarked == []
    assert len(blocks("json request")) >= 2
    assert len(blocks("python run")) >= 4


@pytest.mark.parametrize("block", blocks("json request"), ids=str)
def test_requests_are_accepted(block: Block) -> None:
    parse_problem(json.loads(block.text))


@pytest.mark.parametrize("block", blocks("json many"), ids=str)
def test_batches_are_accepted(block: Block) -> None:
    batch = json.loads(block.text)
    assert batch_mistakes(batch["request"]) == []
    for series in batch["series"]:
        parse_member(batch["request"], series)


@pytest.mark.parametrize("block", blocks("json part"), ids=str)
def test_parts_of_requests_are_accepted(block: Block) -> None:
    part = json.loads(block.text)
    without = {"data"} if "experiments" in part else set()
    parse_problem({name: value for name, value in BASE.items() if name not in without} | part)


@pytest.mark.parametrize("block", blocks("json refused"), ids=str)
def test_refused_requests_get_their_pointers(block: Block) -> None:
    with pytest.raises(ProblemError) as caught:
        parse_problem(json.loads(block.text))
    assert {error.pointer for error in caught.value.errors} == set(block.info.split()[2:])


@pytest.mark.parametrize(
    ("block", "model"),
    [(b, m) for info, m in RESPONSES.items() for b in blocks(f"json {info}")],
    ids=str,
)
def test_responses_have_the_form_of_responses(block: Block, model: type[BaseModel]) -> None:
    raw = json.loads(block.text)
    understood = model.model_validate(raw).model_dump(mode="json", exclude_none=True)
    assert places(raw) - places(understood) == set()


def places(value: Any, above: str = "") -> set[str]:
    """Return the paths of all fields."""
    if isinstance(value, list):
        return {place for entry in value for place in places(entry, above + "/…")}
    if not isinstance(value, dict):
        return set()
    return {f"{above}/{name}" for name in value} | {
        place for name, entry in value.items() for place in places(entry, f"{above}/{name}")
    }


@pytest.mark.parametrize("name", sorted({block.page for block in blocks("python run")}))
def test_python_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for block in blocks("python run"):
        if block.page == name:
            exec(compile(block.text, str(block), "exec"), namespace)


def test_messages_of_outcomes_and_stages_are_quoted_as_they_are() -> None:
    for block in blocks("json result"):
        result = json.loads(block.text)
        assert result["outcome"]["message"] == OUTCOMES[result["outcome"]["code"]]
        for stage in result["stages"]:
            assert stage["stopped"]["message"] == STOP_MESSAGES[stage["stopped"]["code"]]
    assert f"converged: {OUTCOMES['converged']}\n" in page("command-line")
    assert f'"message": "{OUTCOMES["converged"]}"' in README


def test_the_error_is_that_of_the_request_below_it() -> None:
    [shown], [refused] = blocks("json problem"), blocks("json refused /data/times/2")
    with pytest.raises(ProblemError) as caught:
        parse_problem(json.loads(refused.text))
    assert json.loads(shown.text) == json.loads(problem_response(invalid_request(caught.value.errors)).body)


def test_bodies_sent_by_curl_are_accepted() -> None:
    text = README + "".join(block.text for block in blocks("sh"))
    bodies = re.findall(r"-d '(\{.*?\})'", text, re.DOTALL)
    assert len(bodies) >= 2
    for body in bodies:
        parse_simulation(json.loads(body))  # which refuses what a fit would refuse, but for missing values


def test_the_python_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    [code] = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})


def test_the_answer_in_the_readme_is_that_of_its_request() -> None:
    [body] = re.findall(r"-d '(\{.*?\})'", README, re.DOTALL)
    [shown] = re.findall(r"^```json\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    result = json.loads(fit(parse_problem(json.loads(body))).to_json())
    expected = json.loads(shown)["result"]
    assert result["outcome"] == expected["outcome"]
    assert result["loss"] == pytest.approx(expected["loss"], rel=1e-3)
    for name, estimates in (("k", "parameters"), ("c", "initial_state")):
        assert result[estimates][name]["value"] == pytest.approx(expected[estimates][name]["value"], rel=1e-4)


def test_commands_and_their_options_exist() -> None:
    group = typer.main.get_command(app)
    text = "\n".join(b.text for b in blocks("sh")) + "\n".join(re.findall(r"`(odefit [^`]+)`", pages_as_one_line()))
    lines = re.findall(r"^odefit .*$", text, re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        _, name, *words = shlex.split(line, comments=True)
        command = group.commands[name]  # type: ignore[attr-defined]
        if words and hasattr(command, "commands"):
            command = command.commands[words[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} - known == set(), line


def pages_as_one_line() -> str:
    return " ".join(" ".join(page(name).split()) for name in PAGES)


def test_files_named_in_commands_exist() -> None:
    named = set(re.findall(r"\bexamples/[\w/-]+\.(?:json|py)", "".join(page(name) for name in PAGES)))
    assert named
    assert {name for name in named if not (ROOT / name).is_file()} == set()


REQUEST_MODELS = (
    *(
        FitProblem,
        Series,
        Experiment,
        Unknown,
        AdamStage,
        LbfgsbStage,
        LeastSquaresStage,
        Solver,
        Prediction,
        SystemDefinition,
    ),
    *(MultipleShootingStage, MultiStartStage, Penalty, HoldOut, *DISTRIBUTIONS.values(), *PRIORS.values()),
)


@pytest.mark.parametrize("model", REQUEST_MODELS)
def test_every_field_of_a_request_is_described(model: type[BaseModel]) -> None:
    assert missing(model.model_fields, "problem-language") == []


def test_the_expression_language_is_described() -> None:
    text = page("problem-language")
    assert [name for name in FUNCTIONS if f"`{name}`" not in text and f"`{name}(" not in text] == []
    assert missing(CATALOGUE, "problem-language") == []
    for system in CATALOGUE.values():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{system.name}` |"))
        cells = [cell.strip() for cell in row.split("|")[1:-1]]
        assert cells[1:3] == [", ".join(system.states), ", ".join(system.parameters)]


def test_every_choice_of_the_solver_is_described() -> None:
    for field in ("engine", "method", "device"):
        choices = get_args(Solver.model_fields[field].annotation)
        assert [choice for choice in choices if f'`"{choice}"`' not in page("problem-language")] == []


def test_every_field_of_a_response_is_described() -> None:
    models: dict[str, list[str]] = {}
    pending: list[type[BaseModel]] = [Fit, FitResult]
    while pending:
        model = pending.pop()
        if model.__name__ not in models:
            models[model.__name__] = missing(model.model_fields, "results")
            pending += [inner for field in model.model_fields.values() for inner in models_in(field.annotation)]
    assert {name: fields for name, fields in models.items() if fields} == {}


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def test_every_code_is_described() -> None:
    assert missing([*get_args(OutcomeCode), *get_args(WarningCode), *STOP_MESSAGES], "results") == []
    endings = (died_too_often(3), no_gpu(60.0), internal_error("KeyError"), out_of_memory(1))
    of_fits = [json.loads(text)["type"].rpartition(":")[2] for text in endings]
    solves = [name for code in SolveError.MESSAGES for name in (code, f"guess_{code}")]
    assert missing([*ERRORS, *of_fits, *solves], "errors") == []


def test_error_codes_are_listed_with_their_status() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", page("errors"), re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {code: status for code, (status, _) in ERRORS.items()}


def test_every_query_parameter_is_described() -> None:
    for query in (ListQuery, FitQuery, SubmitQuery, PlotQuery, BatchListQuery, ResultsQuery):
        assert missing(query.model_fields, "routes") == []


def test_the_index_links_to_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w/-]+\.md)\)", page("index")))
    assert {path.name for path in DOCS.glob("*.md")} - linked == {"index.md"}


def missing(names: Any, where: str) -> list[str]:
    """Return the names that do not appear in code quotes on a page."""
    return [name for name in names if f"`{name}`" not in page(where)]
