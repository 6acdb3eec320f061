"""`python -m service.http.export_openapi` prints the OpenAPI document, whose committed copy is openapi.json."""

from __future__ import annotations

import json
import sys

from service.http.app import create_app
from service.http.openapi import openapi_document
from service.settings import ServiceSettings
from worker.settings import WorkerSettings


def main() -> None:
    """Print the document of the service with its default settings."""
    app = create_app(ServiceSettings.model_construct(), WorkerSettings.model_construct())
    sys.stdout.write(json.dumps(openapi_document(app), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
