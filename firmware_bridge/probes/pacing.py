"""Absolute deadlines for probes that are not live: lateness never adds up."""

import time


def wait_until(due_ns: int, timeout_s: float) -> bool:
    """Sleep until ``due_ns``, or for ``timeout_s`` if that is sooner; whether it is due now."""
    wait_s = min((due_ns - time.monotonic_ns()) * 1e-9, timeout_s)
    if wait_s > 0:
        time.sleep(wait_s)
    return time.monotonic_ns() >= due_ns
