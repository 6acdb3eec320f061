from __future__ import annotations

import httpx

from odelib.problem.catalogue import CATALOGUE
from service.http.schemas import SystemDescription, SystemList


def test_the_list_has_every_system_of_the_catalogue(client: httpx.Client) -> None:
    listed = SystemList.model_validate(client.get("/systems").json())

    assert [system.name for system in listed.systems] == list(CATALOGUE)


def test_a_system_is_described_in_full(client: httpx.Client) -> None:
    described = client.get("/systems/kuramoto").json()

    example = described.pop("example")
    assert described == {
        "name": "kuramoto",
        "title": "Kuramoto: the order parameter of coupled oscillators",
        "states": ["psi", "R"],
        "parameters": ["omega0", "gamma", "beta", "K"],
        "constants": {"order": 2.0},
        "equations": {
            "psi": "omega0 + (K/2)*sin(beta)*(1 + R**(2*order))",
            "R": "-gamma*R + (K/2)*cos(beta)*R*(1 - R**(2*order))",
        },
        "observables": {"re": "R*cos(psi)", "im": "R*sin(psi)"},
    }
    assert set(example["parameters"]) == {"omega0", "gamma", "beta", "K"}
    assert set(example["initial_state"]) == {"psi", "R"}
    assert example["times"] == sorted(example["times"])


def test_a_system_without_observables_observes_its_states(client: httpx.Client) -> None:
    system = SystemDescription.model_validate(client.get("/systems/lorenz").json())

    assert system.observables == {"x": "x", "y": "y", "z": "z"}
