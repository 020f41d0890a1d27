"""What the machine says about itself: throttling, memory, versions."""

import platform
import sys
from importlib import metadata
from pathlib import Path

_COOLING = Path("/sys/class/thermal")
_PARTS = ("brainflow", "mcap", "numpy", "onnxruntime", "pyserial", "pyusb", "scipy", "sonomyo")


def throttled(root: Path = _COOLING) -> bool:
    """Whether the kernel holds a processor's clock down for heat or power; fans do not count.

    Reads the thermal framework's cooling devices: ``Processor`` on PCs, ``cpu-…`` and ``gpu-…``
    on Jetson-class devices, whose state is above 0 while they throttle.
    """
    for device in root.glob("cooling_device*"):
        try:
            kind = (device / "type").read_text().strip().lower()
            state = int((device / "cur_state").read_text())
        except (OSError, ValueError):
            continue
        if state > 0 and kind.startswith(("processor", "cpu", "gpu", "thermal-cpufreq")):
            return True
    return False


def rss_mb() -> float:
    """Resident memory of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def versions() -> dict[str, str]:
    """Versions of everything that can change a result."""
    found = {"python": sys.version.split()[0], "machine": platform.machine(),
             "kernel": platform.release()}  # fmt: skip
    for part in _PARTS:
        try:
            found[part] = metadata.version(part)
        except metadata.PackageNotFoundError:
            found[part] = "not installed"
    return found
