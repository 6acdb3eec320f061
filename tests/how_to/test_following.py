"""How-tos are read as they are written, and a how-to that does not fit the code fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.how_to.following import Edit, edits

HOW_TO = """# How to

1. First create `odelib/new.py` for the
   numerics:

   ```python
   def new() -> int:

       return 1
   ```

2. Then append to `odelib/old.py`:
   ```python
   x = 1
   ```
3. In `tests/list.py`, replace:

   ```python
   a = 1
   ```

   with:

   ```python
   a = 2
   ```

   In `tests/list.py`, after this line:
   ```python
   b = 1
   ```
   add:
   ```python
   c = 1
   ```

This is an example, and no edit:

```json
{}
```
"""


def test_each_way_to_show_an_edit() -> None:
    assert edits(HOW_TO) == [
        Edit("odelib/new.py", "def new() -> int:\n\n    return 1\n", is_new=True),
        Edit("odelib/old.py", "x = 1\n"),
        Edit("tests/list.py", "a = 2\n", "a = 1\n"),
        Edit("tests/list.py", "b = 1\nc = 1\n", "b = 1\n"),
    ]


def test_an_edit_whose_second_block_is_missing_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="a second block must follow"):
        edits("In `a.py`, replace:\n```\nx\n```\n")
    with pytest.raises(AssertionError, match="ends with 'with:'"):
        edits("In `a.py`, replace:\n```\nx\n```\nThis is:\n```\ny\n```\n")


def test_edits_are_made(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\ny = 1\n")
    for edit in (Edit("a.py", "x = 2\n", "x = 1\n"), Edit("a.py", "z = 1\n"), Edit("b/c.py", "", is_new=True)):
        edit.apply(tmp_path)
    assert (tmp_path / "a.py").read_text() == "x = 2\ny = 1\nz = 1\n"
    assert (tmp_path / "b/c.py").exists()


def test_an_edit_that_does_not_fit_the_code_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    with pytest.raises(AssertionError, match="occurs 2 times"):
        Edit("a.py", "x = 2\n", "x = 1\n").apply(tmp_path)
    with pytest.raises(AssertionError, match="exists already"):
        Edit("a.py", "x = 2\n", is_new=True).apply(tmp_path)
