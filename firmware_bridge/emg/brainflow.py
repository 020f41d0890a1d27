"""Any amplifier BrainFlow knows.

Address: ``brainflow:<board>?<parameters>``; <board> is BrainFlow's name in any case, without
``_BOARD`` (``cyton``, ``ganglion``, ``synthetic``, ``playback`` …), or its number.

    brainflow:cyton?serial_port=/dev/ttyUSB0&rows=0,2&channels=TA,MG
    brainflow:playback?file=ta.tsv&master=cyton&fs_hz=2000&channels=TA&loop=on
    brainflow:synthetic

Every field of BrainFlowInputParams is a parameter (``serial_port``, ``mac_address``, ``timeout``
…), ``master`` is its ``master_board`` by name, and besides them: ``rows`` picks EMG rows by index
from 0, ``channels`` names them, ``fs_hz`` replaces the board's nominal rate, ``scale`` turns
values into uV, ``poll_ms``, ``silence_s`` (longer without a sample: the board is gone), ``loop``.
"""

import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.address import Address, flag
from firmware_bridge.emg import brainflow_library
from firmware_bridge.emg.arrival import Arrivals
from firmware_bridge.emg.brainflow_board import Board, board_from
from firmware_bridge.emg.loss import COUNTERS, LossWatch
from firmware_bridge.types import Chunk, DeviceError

BUFFER_S = 10.0  # what BrainFlow keeps while nobody reads
SIMULATIONS = ("playback_file", "synthetic")


class BrainFlowEmg:
    """An open BrainFlow session.  ``read`` polls: BrainFlow has no call that waits for data.

    ``seq`` counts samples, those its package counter shows as lost included.  NaN is passed on.
    """

    def __init__(self, address: str, session: Any, board: Board, ends: bool):
        self.address = address
        self.live = board.name not in SIMULATIONS
        self.fs_hz, self.channels = board.fs_hz, board.channels
        self.counters = {"lost_samples": 0, "nan_samples": 0, "clock_steps": 0}
        self.finished = False  # a playback that does not loop has ended
        self._session, self._board, self._ends = session, board, ends
        counter = COUNTERS.get(board.layout)
        self._loss = LossWatch(counter) if counter else None
        self._seq = 0
        self._ready: deque[Chunk] = deque()
        self._heard_ns = time.monotonic_ns()
        self._arrivals = Arrivals(self._heard_ns, time.time_ns())

    def read(self, timeout_s: float) -> Chunk | None:
        """All new samples up to the next gap, or None within ``timeout_s``."""
        if self._session is None:
            raise DeviceError(f"{self.address!r} is closed; open it again")
        poll_ns = time.monotonic_ns()
        deadline_ns = poll_ns + round(timeout_s * 1e9)
        while not self._ready:
            self._take()
            now_ns = time.monotonic_ns()
            if self._ready or now_ns >= deadline_ns:
                break
            poll_ns = max(poll_ns + self._board.poll_ns, now_ns)
            time.sleep((min(poll_ns, deadline_ns) - now_ns) * 1e-9)
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Stop the stream and release the session; may be called twice."""
        session, self._session = self._session, None
        if session is not None:
            _release(session)

    def _take(self) -> None:
        now_ns = time.monotonic_ns()
        self._arrivals.poll(now_ns, time.time_ns())
        self.counters["clock_steps"] = self._arrivals.steps
        try:
            rows = self._session.get_board_data() if self._session.get_board_data_count() else None
        except brainflow_library.load().BrainFlowError as e:
            raise DeviceError(f"{self.address!r} is gone: {e}") from e
        if rows is not None:
            self._heard_ns, self.finished = now_ns, False
            self._split(rows)
        elif now_ns - self._heard_ns > self._board.silence_ns:
            self._silent()

    def _silent(self) -> None:
        # An unplugged board raises nothing in BrainFlow: its data just stop coming.
        if self._ends:
            self.finished = True
        else:
            raise DeviceError(
                f"{self.address!r} has been silent for {self._board.silence_ns * 1e-9:g} s; "
                "check its power, its cable or radio, and that no other program uses it"
            )

    def _split(self, rows: NDArray[np.float64]) -> None:
        """Queue ``rows (rows of the board, samples)`` as one chunk per run without a gap."""
        board = self._board
        samples = rows.shape[1]
        lost = np.zeros(samples, np.int64)
        if self._loss is not None:
            lost = self._loss.lost_before(rows[board.counter_row])
            self.counters["lost_samples"] += int(lost.sum())
        data = np.ascontiguousarray(rows[board.rows].T * board.scale, np.float32)
        self.counters["nan_samples"] += int((~np.isfinite(data)).any(axis=1).sum())
        gaps = [int(i) for i in np.flatnonzero(lost) if i > 0]
        self._seq += int(lost[0])
        for first, end in zip([0, *gaps], [*gaps, samples], strict=True):
            t_ns = self._arrivals.at(float(rows[board.time_row, end - 1]))
            self._ready.append(Chunk(t_ns, self._seq, self.fs_hz, data[first:end]))
            self._seq += end - first + (int(lost[end]) if end < samples else 0)


def open_brainflow(address: str) -> BrainFlowEmg:
    """Open a board and start its stream.  Raises DeviceError with the remedy."""
    board_shim = brainflow_library.load()
    parsed = Address(address)
    params = board_shim.BrainFlowInputParams()
    try:
        number = brainflow_library.board_id(parsed.target)
    except ValueError as e:
        raise DeviceError(f"{address!r}: {e}") from e
    for key, default in vars(params).items():
        if key != "master_board":
            setattr(params, key, parsed.take(key, default, type(default)))
    for key in ("master_board", "master"):
        params.master_board = parsed.take(key, params.master_board, brainflow_library.board_id)
    loop = parsed.take("loop", False, flag)
    board = board_from(parsed, number, params.master_board)
    parsed.done()

    playback = board.name == "playback_file"
    if playback and not Path(params.file).is_file():
        raise DeviceError(f"{address!r}: no such file; write one with write_playback, give ?file=")
    session = _session(board_shim, number, params)
    try:
        session.prepare_session()
    except board_shim.BrainFlowError as e:  # nothing to release: it may be somebody else's
        raise DeviceError(f"{address!r} does not open: {e}; {_remedy(e)}") from e
    try:
        if playback:
            session.config_board("loopback_true" if loop else "loopback_false")
        session.start_stream(max(round(BUFFER_S * board.fs_hz), 1))
    except board_shim.BrainFlowError as e:
        _release(session)
        raise DeviceError(f"{address!r} does not start: {e}; {_remedy(e)}") from e
    return BrainFlowEmg(address, session, board, ends=playback and not loop)


def _session(board_shim: Any, number: int, params: Any) -> Any:
    class Session(board_shim.BoardShim):  # type: ignore[misc]
        def __del__(self) -> None:
            """Do nothing: BrainFlow's own releases whoever has this board open by then."""

    return Session(number, params)


def _release(session: Any) -> None:
    with suppress(brainflow_library.load().BrainFlowError):  # an unplugged board cannot be stopped
        session.release_session()


def _remedy(error: Any) -> str:
    if "ANOTHER_BOARD" in str(error) or "ALREADY" in str(error):
        return "it is open already in this program: close it first"
    if "ARGUMENTS" in str(error):
        return "a parameter is missing or wrong, see docs/emg.md for what this board needs"
    if "UNSUPPORTED" in str(error):
        return "BrainFlow has no driver for it on this system"
    return (
        "check that it is plugged in and powered, that the port or address is right, that you may "
        "open it (group dialout) and that no other program has it open"
    )
