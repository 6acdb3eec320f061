"""Build the site from Markdown that also reads well in the repository.

CHANGELOG.md and CONTRIBUTING.md live at the root of the repository, where people look for them; the site includes them.
Links to files outside the documentation become plain text. The words after a fence's language, which tell the tests
how to check the block, are removed.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}  # and their names on the site
FENCE = re.compile(r"^(```\w+)[^\n]*$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from the root of the repository."""
    for source, name in ROOT_PAGES.items():
        content = (Path(config.docs_dir).parent / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at pages of the site."""
    sources = {name: source for source, name in ROOT_PAGES.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def on_site(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if not target or "://" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        name = ROOT_PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
        if not name:
            return text
        return f"[{text}]({posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    return LINK.sub(on_site, FENCE.sub(r"\1", markdown))
