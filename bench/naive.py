"""The script most people would write: poll BrainFlow in a loop, infer, ``serial.write``.

``bench.latency`` runs it as ``python -m bench.naive FILE MASTER PORT SECONDS BUNDLE...``.  It runs
the daemon's networks on each newest window, with the library defaults: no clock mapping, no
real-time set-up, no deadline.  Each packet is the newest sample's BrainFlow timestamp (float64
Unix seconds) and the first output, so that the reader can tell its age.
"""

import struct
import sys
import time
from typing import Any

import numpy as np
import onnxruntime as ort
import serial

from edge.bundle import MODEL, load_bundle
from firmware_bridge.emg import brainflow_library

PACKET = struct.Struct("<4sdf")
MAGIC = b"NAIV"
WINDOW = 20  # samples: one step of the EMG model


def main(file: str, master: str, port: str, seconds: float, bundles: list[str]) -> None:
    """Poll, infer, write, for ``seconds``."""
    brainflow = brainflow_library.load()
    shim = brainflow.BoardShim
    layout = brainflow_library.board_id(master)
    params = brainflow.BrainFlowInputParams()
    params.file, params.master_board = file, layout
    board = shim(brainflow_library.board_id("playback_file"), params)
    board.prepare_session()
    board.config_board("loopback_true")
    board.start_stream()
    emg_row, time_row = shim.get_emg_channels(layout)[0], shim.get_timestamp_channel(layout)
    sessions = [ort.InferenceSession(load_bundle(b).files[MODEL]) for b in bundles]
    feeds: list[dict[str, Any]] = [
        {i.name: np.zeros(i.shape, np.float32) for i in s.get_inputs()} for s in sessions
    ]
    link = serial.Serial(port, 921600)
    end = time.time() + seconds
    while time.time() < end:
        rows = board.get_current_board_data(WINDOW)
        if rows.shape[1] < WINDOW:
            continue
        envelope = np.float32(np.abs(rows[emg_row] - rows[emg_row].mean()).mean())
        value = 0.0
        for session, feed in zip(sessions, feeds, strict=True):
            next(iter(feed.values()))[:] = envelope
            value = float(session.run(None, feed)[0].ravel()[0])
        link.write(PACKET.pack(MAGIC, rows[time_row, -1], value))
    board.stop_stream()
    board.release_session()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5:])
