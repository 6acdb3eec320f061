"""The command line `odefit`: the list of its commands, and how their errors end it.

`--help` imports every command, so commands import what they need when they run.
"""

from __future__ import annotations

import sys

import typer
from rich.markup import escape

from service.cli.commands.api import api
from service.cli.commands.batch import batch
from service.cli.commands.cancel import cancel
from service.cli.commands.explain import explain
from service.cli.commands.export import export
from service.cli.commands.fit import fit
from service.cli.commands.import_ import import_
from service.cli.commands.init import init
from service.cli.commands.keys import keys
from service.cli.commands.list import list_
from service.cli.commands.plot import plot
from service.cli.commands.serve import serve
from service.cli.commands.show import show
from service.cli.commands.simulate import simulate
from service.cli.commands.submit import submit
from service.cli.commands.systems import systems
from service.cli.commands.watch import watch
from service.cli.commands.worker import worker
from service.cli.consoles import ERR
from service.cli.errors import CommandError

COMMANDS = (
    serve,
    fit,
    submit,
    batch,
    simulate,
    import_,
    export,
    explain,
    init,
    plot,
    list_,
    show,
    watch,
    cancel,
    systems,
    api,
    worker,
)

app = typer.Typer(
    help="Fit ordinary differential equations to measured time series.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in COMMANDS:
    app.command(command.__name__.rstrip("_"))(command)  # "import" is a word of Python
app.add_typer(keys, name="keys")


def main() -> None:
    """Run a command; a `CommandError` becomes lines on stderr and an exit status."""
    try:
        app()
    except CommandError as error:
        for line in error.lines():
            ERR.print(escape(line), soft_wrap=True, highlight=False)
        sys.exit(error.status)
