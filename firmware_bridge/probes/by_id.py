"""A device file's lasting name: the kernel numbers devices anew each time they are plugged in."""

from pathlib import Path


def stable_path(device: str, folder: str) -> str:
    """The link in ``folder`` (``/dev/serial/by-id``) to ``device``, or ``device`` without one."""
    if not Path(folder).is_dir():
        return device
    there = Path(device).resolve()
    links = sorted(link for link in Path(folder).iterdir() if link.resolve() == there)
    return str(links[0]) if links else device
