"""Says how far a build is: TensorRT itself is silent for minutes."""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

EVERY_S = 10.0


class Progress:
    """Prints a line every now and then while the block runs; TensorRT 10 and later say of what.

    ``monitor`` is for ``build_plan``.
    """

    def __init__(
        self, what: str, every_s: float = EVERY_S, say: Callable[[str], None] | None = None
    ):
        self._what, self._every_s = what, every_s
        self._say = say or (lambda text: print(text, file=sys.stderr, flush=True))
        self._phases: dict[str, str] = {}  # open ones, outermost first, and how far each is
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="progress", daemon=True)

    def __enter__(self) -> "Progress":
        self._begin = time.monotonic()
        self._say(f"{self._what}: this may take minutes")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        if e is None:
            self._say(f"{self._what}: done after {time.monotonic() - self._begin:.0f} s")

    def monitor(self, trt: Any) -> Any:
        """An ``IProgressMonitor``; its calls come from TensorRT's own threads."""
        phases = self._phases

        class Monitor(trt.IProgressMonitor):
            def __init__(self) -> None:
                trt.IProgressMonitor.__init__(self)
                self.steps: dict[str, int] = {}

            def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
                self.steps[phase] = steps
                phases[phase] = f"{phase} 0/{steps}"

            def step_complete(self, phase: str, step: int) -> bool:
                phases[phase] = f"{phase} {step + 1}/{self.steps.get(phase, 0)}"
                return True

            def phase_finish(self, phase: str) -> None:
                phases.pop(phase, None)

        return Monitor()

    def _tell(self) -> None:
        while not self._done.wait(self._every_s):
            where = ", ".join(list(self._phases.values())[-2:])
            seconds = time.monotonic() - self._begin
            self._say(f"  ... {seconds:.0f} s" + (f": {where}" if where else ""))
