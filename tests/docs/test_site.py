"""The documentation builds as a site whose links work and that needs no other host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import odelib

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """The anchors of a page, its links, and the files that a browser loads with it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value for name, value in attrs if value}
        self.anchors |= {attributes[name] for name in ("id", "name") if name in attributes}
        if tag == "a" and "href" in attributes:
            self.links.add(attributes["href"])
        elif tag == "link" and attributes.get("rel") in ("stylesheet", "icon"):
            self.loaded.add(attributes["href"])
        elif "src" in attributes:
            self.loaded.add(attributes["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in strict mode."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@cache
def parsed(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def pages(site: Path) -> list[Path]:
    return [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]


def test_links_lead_to_pages_and_anchors(site: Path) -> None:
    broken = []
    for page in pages(site):
        for link in sorted(parsed(page).links | parsed(page).loaded):
            target = urlsplit(link)
            if target.scheme or target.netloc:
                continue
            path = (page.parent / unquote(target.path)).resolve() if target.path else page
            path = path / "index.html" if path.is_dir() else path
            anchor = unquote(target.fragment)
            if not path.is_file() or (anchor and anchor != "__skip" and anchor not in parsed(path).anchors):
                broken.append(f"{page.relative_to(site)}: {link}")

    assert len(pages(site)) > 10
    assert broken == []


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    loaded = {link for page in pages(site) for link in parsed(page).loaded}
    styles = {url for path in site.rglob("*.css") for url in re.findall(r"url\((.*?)\)", path.read_text("utf-8"))}

    assert [link for link in loaded | styles if urlsplit(link.strip("\"'")).netloc] == []


def test_the_library_page_describes_every_public_name(site: Path) -> None:
    anchors = parsed(site / "library" / "index.html").anchors

    assert {f"odelib.{name}" for name in odelib.__all__} - anchors == set()


def test_every_fenced_block_becomes_code(site: Path) -> None:
    assert [str(page) for page in pages(site) if "```" in page.read_text(encoding="utf-8")] == []
