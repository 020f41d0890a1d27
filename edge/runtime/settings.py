"""``[runtime]`` of the configuration: what runs the networks, and where its engines are kept."""

import os
from dataclasses import dataclass
from pathlib import Path

CHOICES = {
    "engine": ("auto", "ort", "trt", "ort-cuda", "ort-tensorrt"),
    "io": ("auto", "mapped", "copy"),
    "wait": ("spin", "block"),
}


@dataclass(frozen=True)
class Runtime:
    """What runs the networks; docs/tensorrt.md."""

    engine: str = "auto"  # TensorRT where an engine was built for the network, else ONNX Runtime
    precision: str = ""  # of the bundle's networks; "" = what its maker chose for the engine
    io: str = "auto"  # TensorRT: the GPU reads host memory ("mapped"), or a copy of it
    wait: str = "spin"  # TensorRT: a core waits busily for the GPU, or the thread sleeps
    engines: str = ""  # folder of TensorRT engines; "" = the cache of this user or service
    build: bool = False  # build what is missing or does not fit at start: minutes

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"runtime.{name} must be one of {', '.join(known)}, is {getattr(self, name)!r}"
                )

    @property
    def folder(self) -> Path:
        """Where engines lie; not in the bundle, which may be read-only and is the same everywhere.

        systemd says where a service may keep things (``CacheDirectory=sonomyo``).
        """
        if self.engines:
            return Path(self.engines).expanduser()
        if service := os.environ.get("CACHE_DIRECTORY"):
            return Path(service.partition(":")[0]) / "engines"
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(cache) / "sonomyo" / "engines"


CPU = Runtime(engine="ort")  # the same everywhere: what other engines are compared with
