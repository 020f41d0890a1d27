"""Real-time set-up degrades with a remedy, and touches only the thread that asks."""

import os
import threading

import pytest

from edge import realtime
from edge.realtime import RANK_TICK, RealTime, prepare_process, prepare_thread


def in_thread(f):
    got = []
    t = threading.Thread(target=lambda: got.append(f()))
    t.start()
    t.join()
    return got[0]


def test_switched_off_it_changes_nothing():
    def policy():
        assert prepare_thread(RealTime(enabled=False), RANK_TICK) == []
        return os.sched_getscheduler(0)

    assert in_thread(policy) == os.SCHED_OTHER


def test_only_the_calling_thread_becomes_real_time():
    def policy():
        warnings = prepare_thread(RealTime(priority=20), RANK_TICK)
        return warnings, os.sched_getscheduler(0), os.sched_getparam(0).sched_priority

    warnings, scheduler, priority = in_thread(policy)
    if warnings:  # not permitted here: then it says how to permit it
        assert "LimitRTPRIO" in warnings[0]
        assert scheduler == os.SCHED_OTHER
    else:
        assert (scheduler, priority) == (os.SCHED_FIFO, 20)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_without_permission_the_warning_says_how_to_get_it(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert "ulimit -r" in prepare_thread(RealTime(), RANK_TICK)[0]


def test_a_core_that_is_not_there_is_a_warning(monkeypatch):
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: None)
    warnings = in_thread(lambda: prepare_thread(RealTime(cpu=1023), RANK_TICK))
    assert "cpu 1023" in warnings[0]


def test_memory_that_may_not_be_locked_is_a_warning_with_the_remedy(monkeypatch):
    class Libc:
        def mlockall(self, flags):
            return -1

    calls = []
    monkeypatch.setattr(realtime.ctypes, "CDLL", lambda *_, **__: Libc())
    monkeypatch.setattr(realtime.gc, "freeze", lambda: calls.append("freeze"))
    monkeypatch.setattr(realtime.gc, "disable", lambda: calls.append("disable"))
    monkeypatch.setattr(realtime.sys, "setswitchinterval", calls.append)
    (warning,) = prepare_process(RealTime())
    assert "LimitMEMLOCK" in warning
    assert calls == [realtime.SWITCH_S, "freeze", "disable"]


@pytest.mark.parametrize("rank", [n for n in vars(realtime) if n.startswith("RANK_")])
def test_every_rank_keeps_a_valid_priority_over_the_whole_range(rank):
    for priority in (15, 90):
        assert 1 <= priority + vars(realtime)[rank] <= 99
