"""Real-time set-up of threads and of the process; each step degrades with a warning that helps.

Measured on two shared cores under load, SCHED_FIFO with locked memory brings the tail of a Python
loop down tenfold.  All threads that may hold the GIL are real-time, ranked: an ordinary thread
that is preempted by another program while it holds the GIL would hold up the tick with it.
"""

import ctypes
import gc
import os
import sys
from dataclasses import dataclass

RANK_RELEASE = 4  # added to the configured priority; the tick has rank 0
RANK_TICK = 0
RANK_SENSOR = -4
RANK_LINK = -8
RANK_RECORDER = -12

SWITCH_S = 1e-4  # a thread in Python code gives the tick the GIL within 20 us of its asking

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


@dataclass(frozen=True)
class RealTime:
    """Real-time settings (``[realtime]`` of the configuration)."""

    enabled: bool = True
    priority: int = 50  # SCHED_FIFO priority of the tick, 15..90
    cpu: int = -1  # core the tick and the release run on; -1 = any

    def __post_init__(self) -> None:
        if not 15 <= self.priority <= 90:
            raise ValueError(f"realtime.priority must be 15..90, is {self.priority}")


def prepare_process(rt: RealTime) -> list[str]:
    """Lock memory and quiet the garbage collector; call after everything is loaded.

    What exists now is never looked at again, and nothing is collected unasked: a full collection
    stops every thread for tens of milliseconds.  ``sweep`` does it.  Returns warnings.
    """
    sys.setswitchinterval(SWITCH_S)
    if not rt.enabled:
        return []
    gc.collect()
    gc.freeze()
    gc.disable()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        why = os.strerror(ctypes.get_errno())
        return [f"memory not locked ({why}): set LimitMEMLOCK=infinity, or ulimit -l unlimited"]
    return []


def prepare_thread(rt: RealTime, rank: int) -> list[str]:
    """Give the calling thread its place in the ranking.  Returns warnings."""
    if not rt.enabled:
        return []
    warnings = []
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(rt.priority + rank))
    except PermissionError:
        warnings.append(
            "no real-time priority: set LimitRTPRIO=95, or ulimit -r 95, or run with CAP_SYS_NICE"
        )
    except OSError as e:
        warnings.append(f"no real-time priority ({e.strerror}) on this kernel")
    if rt.cpu >= 0 and rank >= RANK_TICK:
        try:
            os.sched_setaffinity(0, {rt.cpu})
        except OSError as e:
            warnings.append(
                f"cannot stay on cpu {rt.cpu} ({e.strerror}): choose one of this machine"
            )
    return warnings


def sweep() -> None:
    """Collect the reference cycles that libraries leave behind (ctypes does, at each call).

    Only what came after ``prepare_process`` is looked at: a few thousand objects a second.
    """
    gc.collect()
