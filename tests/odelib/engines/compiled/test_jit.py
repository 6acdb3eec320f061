"""Functions compiled to disk, beside the sources of an earlier version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SECONDS = 120  # that a process may take, on a busy machine
MODULE = """
from collections import namedtuple
from odelib.engines.compiled.jit import kernel
{name} = namedtuple("{name}", "x")
@kernel
def doubled(pair):
    return 2.0 * pair.x
print(doubled({name}(1.5)))
"""


def run(folder: Path, name: str) -> str:
    (folder / "upgraded.py").write_text(MODULE.format(name=name))
    ran = subprocess.run(
        [sys.executable, "-c", "import upgraded"], cwd=folder, check=False, capture_output=True, text=True,
        timeout=SECONDS, env={"PYTHONPATH": f"{folder}:{Path.cwd()}", "HOME": str(folder)},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_what_was_compiled_before_a_type_was_renamed_is_compiled_again(tmp_path: Path) -> None:
    assert run(tmp_path, "Tolerances") == "3.0"
    assert list(tmp_path.rglob("*.nbi"))  # something was kept, which names the type
    assert run(tmp_path, "ErrorLimits") == "3.0"
