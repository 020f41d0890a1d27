"""Write an EMG recording as a file that BrainFlow's playback board plays at its true rate.

One line per sample, tab separated, one column per row of the master board's default preset: its
package counter (0..255, wrapping), the channels in its EMG rows (uV), a time stamp in seconds;
every other column 0.  The playback board paces itself by the differences of the time stamps.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.address import make
from firmware_bridge.emg import brainflow_library

COUNTER = 256  # the package counter of every master below is one byte
MASTERS = ((8, "cyton"), (16, "synthetic"), (32, "freeeeg32"), (128, "freeeeg128"))  # EMG rows


@dataclass(frozen=True)
class Playback:
    """A playback file, and how to open it."""

    path: Path
    master: str  # the board whose row layout the file has
    fs_hz: float
    channels: tuple[str, ...]
    samples: int

    def address(self, loop: bool = True) -> str:
        """For ``open_emg``: this recording at its true rate, over and over or once."""
        return make(
            "brainflow",
            "playback",
            {
                "file": self.path,
                "master": self.master,
                "fs_hz": f"{self.fs_hz:.10g}",
                "channels": ",".join(self.channels),
                "loop": "on" if loop else "off",
            },
        )


def write_playback(
    path: Path, emg_uv: NDArray[Any], fs_hz: float, channels: tuple[str, ...], master: str = ""
) -> Playback:
    """Write ``emg_uv (samples, channels)``, in microvolts, as a playback file.

    Without ``master`` the smallest board of ``MASTERS`` with enough EMG rows is taken.  The end is
    cut to whole turns of the package counter, so that a looped file does not look like loss.
    Raises ValueError when the data do not fit, DeviceError when BrainFlow is missing.
    """
    samples = len(emg_uv) - len(emg_uv) % COUNTER
    if emg_uv.ndim != 2 or samples == 0 or emg_uv.shape[1] != len(channels):
        raise ValueError(
            f"expected (at least {COUNTER} samples, {len(channels)} channels), got {emg_uv.shape}"
        )
    if not fs_hz > 0:
        raise ValueError(f"fs_hz must be positive, is {fs_hz}")
    master = master or _master_for(len(channels))
    board_shim = brainflow_library.load()
    board = board_shim.BoardShim.get_board_descr(brainflow_library.board_id(master))
    rows = board["emg_channels"]
    if len(rows) < len(channels):
        raise ValueError(f"{master} has {len(rows)} EMG rows, the data {len(channels)} channels")

    index = np.arange(samples)
    table = np.zeros((samples, board["num_rows"]))
    table[:, board["package_num_channel"]] = index % COUNTER
    table[:, rows[: len(channels)]] = emg_uv[:samples]
    table[:, board["timestamp_channel"]] = (index + 1) / fs_hz  # a 0 would not be paced
    formats = ["%d"] * board["num_rows"]  # BrainFlow refuses lines longer than 8 KiB
    formats[board["timestamp_channel"]] = "%.7f"
    for row in rows[: len(channels)]:
        formats[row] = "%.4f"
    np.savetxt(path, table, fmt="\t".join(formats))
    return Playback(path, master, fs_hz, channels, samples)


def _master_for(channels: int) -> str:
    for emg_rows, name in MASTERS:
        if channels <= emg_rows:
            return name
    raise ValueError(f"{channels} channels; the largest board of the table has {MASTERS[-1][0]}")
