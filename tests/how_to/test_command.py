"""docs/how-to-add-a-command.md is complete: followed on a copy, it adds a command."""

from __future__ import annotations

from pathlib import Path

from tests.how_to.following import follow


def test_adding_a_command_takes_two_files(tmp_path: Path) -> None:
    copy = follow("how-to-add-a-command.md", tmp_path)
    assert copy.code_files == ["service/cli/commands/check.py", "service/cli/main.py"]
    assert "check     Validate a request without fitting it." in copy.run("-m", "service", "--help")
    copy.run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("tests/service/cli/commands/test_check.py", "tests/service/test_imports.py"),
        "tests/docs/test_pages.py::test_commands_and_their_options_exist",
    )
