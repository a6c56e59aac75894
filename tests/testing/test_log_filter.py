"""Tests of the context that keeps expected failures out of the log."""

import logging

import pytest

from datalayer_stripe.testing.log_filter import silent_log


def test_contexts_that_overlap_without_nesting_restore_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("datalayer_stripe.testing")
    handlers = list(logging.getLogger("datalayer_stripe").handlers)
    first, second = silent_log(), silent_log()

    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    logger.error("the second context is open")
    second.__exit__(None, None, None)
    logger.error("no context is open")

    assert caplog.messages == ["no context is open"]
    assert logging.getLogger("datalayer_stripe").handlers == handlers
