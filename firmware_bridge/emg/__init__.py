"""EMG amplifiers: ``open_emg(address)`` picks the driver by the address's scheme."""

from firmware_bridge.types import DeviceError, Emg


def open_emg(address: str) -> Emg:
    """Open ``brainflow:… | replay:… | synthetic:…``; see each driver's docstring.

    Raises DeviceError with the remedy when the address is wrong or the device is not there.
    """
    scheme, _, _ = address.partition(":")
    if scheme == "brainflow":
        from firmware_bridge.emg.brainflow import open_brainflow

        return open_brainflow(address)
    if scheme == "replay":
        from firmware_bridge.emg.replay import open_replay

        return open_replay(address)
    if scheme == "synthetic":
        from firmware_bridge.emg.synthetic import open_synthetic

        return open_synthetic(address)
    raise DeviceError(f"no EMG driver for {address!r}; known: brainflow:, replay:, synthetic:")
