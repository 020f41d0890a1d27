"""Ultrasound probes: ``open_probe(address)`` picks the driver by the address's scheme."""

from firmware_bridge.types import DeviceError, Probe


def open_probe(address: str) -> Probe:
    """Open ``usb:… | wulpus:… | uvc:… | replay:… | synthetic:…``; see each driver's docstring.

    Raises DeviceError with the remedy when the address is wrong or the device is not there.
    """
    scheme, _, _ = address.partition(":")
    if scheme == "usb":
        from firmware_bridge.probes.usb import open_usb

        return open_usb(address)
    if scheme == "wulpus":
        from firmware_bridge.probes.wulpus import open_wulpus

        return open_wulpus(address)
    if scheme == "uvc":
        from firmware_bridge.probes.uvc import open_uvc

        return open_uvc(address)
    if scheme == "replay":
        from firmware_bridge.probes.replay import open_replay

        return open_replay(address)
    if scheme == "synthetic":
        from firmware_bridge.probes.synthetic import open_synthetic

        return open_synthetic(address)
    raise DeviceError(
        f"no probe driver for {address!r}; known: usb:, wulpus:, uvc:, replay:, synthetic:"
    )
