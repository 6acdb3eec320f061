"""The page's routes: what they send to browsers, with which headers, and that nothing else can be read by them."""

from __future__ import annotations

import gzip
import re

import httpx
import pytest

from service.page import files
from tests.service.requests import problem

PAGES = ("/", "/docs")
REFERENCE = re.compile(r'(?:src|href)="([^"]+)"')


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_only_files_of_this_service(client: httpx.Client, path: str) -> None:
    page = client.get(path)

    assert page.headers["content-type"].startswith("text/html")
    assert "<noscript>" in page.text or "<script" not in page.text
    loaded = [address for address in REFERENCE.findall(page.text) if not address.startswith("data:")]
    assert loaded
    for address in loaded:
        assert address.startswith("/"), address
        assert not address.startswith("//"), address
        assert client.get(address).status_code == 200, address


@pytest.mark.parametrize("path", [*PAGES, "/assets/api/swagger-ui-bundle.js"])
def test_the_policy_permits_nothing_from_elsewhere_and_no_inline_scripts(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers

    policy = dict(entry.split(" ", 1) for entry in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert not {"script-src", "style-src", "connect-src"} & set(policy)  # which the default covers
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    for script in re.findall(r"<script[^>]*>(.*?)</script>", client.get(path).text if path in PAGES else "", re.DOTALL):
        assert not script.strip()


def test_files_are_sent_compressed_and_revalidated(client: httpx.Client) -> None:
    address = "/assets/api/swagger-ui-bundle.js"
    with client.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    plain = client.get(address, headers={"Accept-Encoding": "identity"})

    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(raw) < len(plain.content) / 2
    assert gzip.decompress(raw) == plain.content
    assert plain.headers["content-type"].startswith("text/javascript")
    again = client.get(address, headers={"If-None-Match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name", ["none.js", "../routes.py", "..%2froutes.py", "../built/index.html", "%2e%2e/files.py", "api/../files.py"]
)
def test_only_the_files_of_the_page_can_be_read(client: httpx.Client, name: str) -> None:
    problem(client.get(f"/assets/{name}"), 404, "not_found")


def test_the_page_s_files_have_their_content_in_their_names() -> None:
    built = [name for name in files.paths_by_name() if not name.startswith("api/")]

    assert all(re.search(r"-[\w-]{8}\.\w+$", name) for name in built), built
