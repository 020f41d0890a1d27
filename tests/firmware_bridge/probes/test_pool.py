"""Buffers come back only when nobody can see them."""

from collections import deque

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.probes.pool import FramePool


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_what_is_held_never_changes(holding):
    pool, held = FramePool(64, count=2), deque()
    for turn, keep in enumerate(holding):
        buffer = pool.take()
        memoryview(buffer)[:] = bytes([turn]) * 64
        held.append((turn, np.frombuffer(memoryview(buffer)[16:], np.uint8).reshape(6, 8)[1:, 2]))
        del buffer
        while len(held) > keep:
            held.popleft()
        assert all((view == was).all() for was, view in held)


def test_a_steady_consumer_needs_no_new_buffers():
    pool, held = FramePool(64, count=2), deque(maxlen=7)
    for _ in range(20):
        held.append(memoryview(pool.take())[8:])
    settled = len(pool)
    for _ in range(100):
        held.append(memoryview(pool.take())[8:])
    assert len(pool) == settled <= 9


def test_a_buffer_let_go_is_used_again():
    pool = FramePool(64, count=1)
    address = pool.take().buffer_info()[0]
    assert [pool.take().buffer_info()[0] for _ in range(3)] == [address] * 3
