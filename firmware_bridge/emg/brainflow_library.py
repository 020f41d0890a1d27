"""Load BrainFlow's Python binding, on every Python, or say what to do where it cannot work."""

import importlib.resources
import warnings
from typing import Any

from firmware_bridge.types import DeviceError

INSTALL = "install it with: pip install 'brainflow>=5.23'"
BUILD = (
    "BrainFlow's wheel has no library for this machine (on a Jetson pip succeeds all the same): "
    "build its C++ core here and install its Python package over the wheel, see docs/emg.md"
)


def load() -> Any:
    """``brainflow.board_shim``, its native library loaded and its own log reduced to errors.

    Raises DeviceError with the remedy when the package or its native library is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's deprecations are not our errors
            from brainflow import board_shim
            from brainflow.utils import LogLevels
    except ImportError as e:
        raise DeviceError(f"BrainFlow is not installed; {INSTALL} ({e})") from e
    # It asks for the resources of a module that is no package.  Before Python 3.12 that raises,
    # and its fallback is pkg_resources, which setuptools 82 removed.
    board_shim.files = lambda _: importlib.resources.files("brainflow")
    try:
        board_shim.BoardShim.set_log_level(LogLevels.LEVEL_ERROR.value)
    except OSError as e:
        raise DeviceError(f"{BUILD} ({e})") from e
    return board_shim


def board_id(name: str) -> int:
    """BrainFlow's number for a board, by name (``cyton``) or number.  Raises ValueError."""
    ids = boards()
    key = name.lower().removesuffix("_board")
    key = {"playback": "playback_file"}.get(key, key)
    if key in ids:
        return ids[key]
    if key.lstrip("-").isdigit() and int(key) in ids.values():
        return int(key)
    raise ValueError(f"BrainFlow has no board {name!r}; it has {', '.join(sorted(ids))}")


def board_name(number: int) -> str:
    """The name ``board_id`` knows a board by."""
    return next(name for name, i in boards().items() if i == number)


def description(number: int) -> dict[str, Any]:
    """What the default preset of a board has: its rate and which row carries what."""
    found: dict[str, Any] = load().BoardShim.get_board_descr(number)
    return found


def emg_rows(number: int) -> list[int]:
    """The rows of a board that can carry EMG; boards that name no EMG rows give others.

    Raises DeviceError that lists what the board has.
    """
    board = description(number)
    for kind in ("emg_channels", "exg_channels", "eeg_channels"):
        if board.get(kind):
            return list(board[kind])
    has = sorted(key.removesuffix("_channels") for key in board if key.endswith("_channels"))
    raise DeviceError(f"{board_name(number)} has no EMG, EXG or EEG rows; it has {', '.join(has)}")


def boards() -> dict[str, int]:
    """BrainFlow's number of every board, by its name in lower case without ``_BOARD``."""
    ids = load().BoardIds
    return {b.name.removesuffix("_BOARD").lower(): int(b) for b in ids if b != ids.NO_BOARD}
