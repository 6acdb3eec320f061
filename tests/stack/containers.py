"""The compose stack, built and started from a copy of this tree with keys, port and volume of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
PROJECT = "odefit-stack-test"
PARTS = (
    *("Makefile", "docker-compose.yml", "Dockerfile", ".dockerignore", "pyproject.toml", "constraints.txt"),
    *("README.md", "LICENSE", "odefit", "odelib", "worker", "service"),
)
REQUEST_SECONDS = 90.0


class ComposeStack:
    """What `make stack` starts in `folder`, published on `port`; a user's own stack is not touched."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self._environment = os.environ | {"ODEFIT_PORT": str(port)}
        for name in ("COMPOSE_PROJECT_NAME", "COMPOSE_FILE", "ODEFIT_API_KEY", "REDIS_PASSWORD"):
            self._environment.pop(name, None)

    def copy_tree(self) -> None:
        """Copy what the stack is made of; the folder's name becomes the project's."""
        self.folder.mkdir()
        ignored = shutil.ignore_patterns("__pycache__")
        for name in PARTS:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.folder / name, ignore=ignored)
            else:
                shutil.copy2(ROOT / name, self.folder / name)

    def make(self, *arguments: str) -> None:
        """Run make there; its output goes to the test's."""
        subprocess.run(
            ["make", *arguments], cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL, check=True
        )

    def key(self) -> str:
        """The API key that `make stack` has drawn."""
        lines = (self.folder / ".env").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)["ODEFIT_API_KEY"]

    def client(self) -> httpx.Client:
        """An HTTP client with the key."""
        headers = {"Authorization": f"Bearer {self.key()}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=REQUEST_SECONDS)

    def kill(self, service: str) -> None:
        """kill -9 of all processes of a service's container."""
        _run(self._engine(), "kill", "--signal", "KILL", self._container(service))

    def start(self, service: str) -> None:
        """Start a service's container again."""
        _run(self._engine(), "start", self._container(service))

    def execute(self, service: str, *command: str) -> str:
        """What a command prints in a service's container."""
        return _run(self._engine(), "exec", self._container(service), *command)

    def logs(self) -> str:
        """What the containers wrote."""
        names = ("api", "worker", "redis")
        return "\n".join(f"--- {name}\n{_run(self._engine(), 'logs', self._container(name))}" for name in names)

    def _engine(self) -> str:
        """The program that runs the containers: docker or podman."""
        for engine in ("docker", "podman"):
            if shutil.which(engine) and _listed(engine):
                return engine
        raise AssertionError(f"neither docker nor podman has a container of the project {PROJECT}")

    def _container(self, service: str) -> str:
        found = _listed(self._engine(), f"label=com.docker.compose.service={service}")
        assert len(found) == 1, f"there are {len(found)} containers of {service}"
        return found[0]


def _listed(engine: str, *filters: str) -> list[str]:
    """The ids of the project's containers, stopped ones too; none where the engine does not answer."""
    options = [f"--filter={each}" for each in (f"label=com.docker.compose.project={PROJECT}", *filters)]
    asked = subprocess.run([engine, "ps", "-aq", *options], capture_output=True, text=True, check=False)
    return asked.stdout.split() if asked.returncode == 0 else []


def _run(*command: str) -> str:
    """stdout and stderr of a command that succeeds."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} ended with status {done.returncode}:\n{done.stdout}"
    return done.stdout
