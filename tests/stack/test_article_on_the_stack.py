"""The end-to-end test of the article's problems, against the stack's published port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.test_article import (
    Fits,
    post_all,
    test_kuramoto_from_the_published_guess_by_lbfgsb_alone,
    test_lynx_hare_with_the_default_plan,
    test_the_articles_validations_as_predictions,
    test_the_truth_is_found_from_the_articles_guesses,
)
from tests.stack.containers import ComposeStack

__all__ = [
    "test_kuramoto_from_the_published_guess_by_lbfgsb_alone",
    "test_lynx_hare_with_the_default_plan",
    "test_the_articles_validations_as_predictions",
    "test_the_truth_is_found_from_the_articles_guesses",
]
pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800, func_only=True)]


@pytest.fixture(scope="module")
def fits(stack: ComposeStack) -> Iterator[Fits]:
    """All of them, posted to the stack."""
    with stack.client() as client:
        yield post_all(client)
