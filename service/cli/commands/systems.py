"""`odefit systems`: the catalogue of systems."""

from __future__ import annotations

from rich.markup import escape

from service.cli.consoles import OUT


def systems() -> None:
    """List the catalogue of systems."""
    from odelib.problem.catalogue import CATALOGUE

    for system in CATALOGUE.values():
        OUT.print(f"[bold]{system.name}[/]  {escape(system.title)}")
        _print_row("parameters", ", ".join(system.parameters))
        for name, equation in system.equations.items():
            _print_row(f"{name}'", equation.text)
        for name, observable in system.observables.items():
            if observable.text != name:
                _print_row(name, f"{observable.text}   (observed)")
        OUT.print()


def _print_row(name: str, text: str) -> None:
    OUT.print(f"  {name:<12}{text}", markup=False, highlight=False, soft_wrap=True)
