"""What an address and BrainFlow together say about a board: its rows, their names, its rate."""

from dataclasses import dataclass

from firmware_bridge.address import Address
from firmware_bridge.emg import brainflow_library
from firmware_bridge.parameters import indices, names, positive
from firmware_bridge.types import DeviceError


@dataclass(frozen=True)
class Board:
    """Where the samples of a session are, and how to wait for them."""

    name: str
    layout: str  # the board whose rows the data have: itself, or the master of a playback
    rows: list[int]  # of BrainFlow's table, one per channel
    channels: tuple[str, ...]
    counter_row: int
    time_row: int  # Unix seconds
    fs_hz: float
    scale: float  # to microvolts
    poll_ns: int
    silence_ns: int  # longer without a sample: gone


def board_from(address: Address, number: int, master: int) -> Board:
    """Take from ``address`` what it says about the data.  Raises DeviceError with the remedy."""
    name = brainflow_library.board_name(number)
    layout = number
    if name in ("playback_file", "streaming"):
        layout = master
        if layout not in brainflow_library.boards().values():
            raise DeviceError(f"{address.text!r}: say whose rows it has, as in master=cyton")
    known = brainflow_library.description(layout)
    available = brainflow_library.emg_rows(layout)
    channels = address.take("channels", tuple[str, ...](), names)
    wanted = address.take("rows", tuple(range(len(channels) or len(available))), indices)
    channels = channels or tuple(f"emg{i}" for i in wanted)
    if len(channels) != len(wanted) or not all(0 <= i < len(available) for i in wanted):
        raise DeviceError(
            f"{address.text!r}: {len(wanted)} rows {wanted} for {len(channels)} channels "
            f"{channels}; give as many of both, and rows from 0 to {len(available) - 1}"
        )
    return Board(
        name=name,
        layout=brainflow_library.board_name(layout),
        rows=[available[i] for i in wanted],
        channels=channels,
        counter_row=known["package_num_channel"],
        time_row=known["timestamp_channel"],
        fs_hz=address.take("fs_hz", float(known["sampling_rate"]), positive),
        scale=address.take("scale", 1.0, float),
        poll_ns=round(address.take("poll_ms", 1.0, positive) * 1e6),
        silence_ns=round(address.take("silence_s", 2.0, positive) * 1e9),
    )
