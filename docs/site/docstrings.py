"""Show the examples in docstrings as code: a doctest outside a section would be taken for nested quotations."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^(>>> (?:.+\n?)+)", re.MULTILINE)


class FenceExamples(griffe.Extension):
    """Put each doctest between fences."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of what was just read."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(
                lambda match: f"```pycon\n{match[1].rstrip()}\n```\n", obj.docstring.value
            )
