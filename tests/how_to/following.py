"""Follow a how-to of the docs on a copy of the code, so that no how-to can forget a file.

A how-to shows every edit of code as a fenced block. The paragraph before the block names the file and ends with what
to do there:

    … create `odelib/some/new.py`:
    … append to `odelib/some/file.py`:
    … in `odelib/some/file.py`, replace:   followed by a second block after a paragraph that ends with   with:
    … in `odelib/some/file.py`, after:     followed by a second block after a paragraph that ends with   add:

Words may stand between the name and the colon ("create `odelib/some/new.py` for the numerics:"). The text to replace,
or to add something after, must occur exactly once in the file. All other fenced blocks are left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("odefit", "odelib", "worker", "service")
COPIED = (*PACKAGES, "tests", "data", "docs", "pyproject.toml", "openapi.json", "README.md", "CHANGELOG.md", "LICENSE")
TIMEOUT = 300.0  # seconds that a command may run in the copy

_FENCE = re.compile(r"^( *)```(.*)$")
_FIRST = re.compile(r"\b(create|append to|in) `([^`]+)`(?:,? (replace|after)\b)?[^`:]*:$", re.IGNORECASE)
_SECOND = re.compile(r"\b(with|add):$")


@dataclass(frozen=True)
class Edit:
    """One edit of one file: `text` replaces `old`, or is the whole of a new file, or is appended."""

    file: str
    text: str
    old: str | None = None
    is_new: bool = False

    def apply(self, root: Path) -> None:
        """Make the edit below `root`."""
        path = root / self.file
        if self.is_new:
            assert not path.exists(), f"{self.file} exists already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text)
            return
        before = path.read_text()
        if self.old is None:
            path.write_text(before + self.text)
            return
        count = before.count(self.old)
        assert count == 1, f"the text to edit occurs {count} times in {self.file}:\n{self.old}"
        path.write_text(before.replace(self.old, self.text))


@dataclass(frozen=True)
class Copy:
    """A copy of the code after the edits of a how-to. code_files: the files of the packages that they touch, sorted."""

    root: Path
    code_files: list[str]

    def run_python(self, snippet: str) -> str:
        """Run Python code in the copy; returns what it prints. An error of the code fails the test."""
        return self.run("-c", snippet)

    def run(self, *arguments: str) -> str:
        """Run `python ARGUMENTS` in the copy, such as `-m pytest tests/…`; returns what it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.root)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def follow(how_to: str, folder: Path) -> Copy:
    """Copy the code into `folder` and make the edits that docs/`how_to` shows."""
    shown = edits((ROOT / "docs" / how_to).read_text())
    assert shown, f"docs/{how_to} shows no edits"
    root = folder / "copy"
    root.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            # With __pycache__ and the files' times: the kernels need not be compiled again.
            shutil.copytree(ROOT / name, root / name)
        else:
            shutil.copy2(ROOT / name, root / name)
    for edit in shown:
        edit.apply(root)
    touched = {edit.file for edit in shown}
    return Copy(root, sorted(file for file in touched if file.split("/")[0] in PACKAGES))


def edits(markdown: str) -> list[Edit]:
    """The edits that a how-to shows, in order."""
    found: list[Edit] = []
    pending: tuple[str, str, str] | None = None  # of a pair of blocks: file, "replace" or "after", text of the first
    for paragraph, text in _blocks(markdown):
        if pending:
            file, action, old = pending
            second = _SECOND.search(paragraph)
            word = {"replace": "with", "after": "add"}[action]
            assert (second and second[1]) == word, f"a paragraph that ends with '{word}:' must follow:\n{old}"
            found.append(Edit(file, text if action == "replace" else old + text, old))
            pending = None
        elif match := _FIRST.search(paragraph):
            verb, file, action = match[1].lower(), match[2], match[3]
            if verb == "in":
                assert action, f"neither 'replace' nor 'after' before:\n{text}"
                pending = file, action.lower(), text
            else:
                found.append(Edit(file, text, is_new=verb == "create"))
    assert pending is None, f"a second block must follow:\n{pending}"
    return found


def _blocks(markdown: str) -> Iterator[tuple[str, str]]:
    """Each fenced block, without its indentation, with the paragraph before it on one line."""
    paragraph: list[str] = []
    block: list[str] | None = None
    indentation, is_after_blank = 0, False
    for line in markdown.splitlines():
        fence = _FENCE.match(line)
        if block is not None and fence:
            yield " ".join(paragraph), "".join(f"{text}\n" for text in block)
            block, paragraph = None, []
        elif block is not None:
            block.append(line[indentation:] if not line[:indentation].strip() else line)
        elif fence:
            block, indentation = [], len(fence[1])
        elif not line.strip():
            is_after_blank = True
        else:
            paragraph = [] if is_after_blank else paragraph
            paragraph.append(line.strip())
            is_after_blank = False
