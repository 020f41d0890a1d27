"""TensorRT's Python module, and its messages in our log."""

import logging
from typing import Any

from edge.runtime import EngineError

log = logging.getLogger("tensorrt")
_logs: dict[str, Any] = {}


def import_tensorrt() -> Any:
    """The module.  Raises EngineError with the loader's own words and the remedy."""
    try:
        import tensorrt
    except ModuleNotFoundError as e:
        raise EngineError(
            f"TensorRT's Python module is not here ({e}): on a Jetson, sudo apt install "
            "python3-libnvinfer and make the virtual environment with --system-site-packages "
            '(docs/tensorrt.md), or set runtime.engine = "ort"'
        ) from e
    except (ImportError, OSError) as e:  # a library that it is linked to
        raise EngineError(
            f"TensorRT is installed but does not load ({e}): install the library it names (in a "
            'container: --runtime nvidia), or set runtime.engine = "ort"'
        ) from e
    return tensorrt


def version_of(trt: Any) -> tuple[int, ...]:
    """Major, minor, ... of the module."""
    return tuple(int(p) for p in trt.__version__.split(".") if p.isdigit())


def logger(trt: Any) -> Any:
    """The one logger of this process: TensorRT keeps the first it is given.

    ``lines`` holds what was said since it was last emptied, as (severity, text): INFO and worse.
    """
    if trt.__version__ not in _logs:
        _logs[trt.__version__] = _make_logger(trt)
    return _logs[trt.__version__]


def errors(trt: Any) -> str:
    """What TensorRT complained of last, for a message."""
    bad = [text for severity, text in logger(trt).lines if "ERROR" in severity]
    return "; ".join(bad[-5:]) or "it does not say why"


def _make_logger(trt: Any) -> Any:
    severity = trt.ILogger

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[tuple[str, str]] = []

        def log(self, level: Any, text: str) -> None:
            if level == severity.VERBOSE:
                return
            self.lines.append((level.name, text))
            del self.lines[:-1000]
            if level in (severity.ERROR, severity.INTERNAL_ERROR):
                log.error("%s", text)
            elif level == severity.WARNING:
                log.warning("%s", text)

    return Log()
