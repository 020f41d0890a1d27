"""``python facts.py OUT.json``: names, arguments and members of the TensorRT module on the path.

Also runs what of our code works without a GPU: the logger, the progress monitor, the flags.
"""

import importlib
import inspect
import json
import re
import sys

SIGNATURE = re.compile(r"^\s{0,7}(?:\d+\.\s+)?(\w+)\((.*)\)\s*(?:->\s*(.+?))?\s*$")


def clean(text):
    """Without what differs from build to build: module names, addresses, numbers of members."""
    text = re.sub(r"\b(?:tensorrt_bindings|tensorrt)\.tensorrt\.", "", text)
    text = re.sub(r"typing\.Supports(?:Int|Index)", "int", text)
    text = text.replace("typing.SupportsFloat", "float").replace("int | int", "int")
    text = re.sub(r"<([\w.]+): -?\d+>", r"\1", text)
    return re.sub(r"<[\w.]+ object at 0x[0-9a-f]+>", "<object>", text)


def signatures(function, name):
    """As pybind11 wrote them into the text."""
    found = []
    for line in (function.__doc__ or "").splitlines():
        m = SIGNATURE.match(line)
        if m and m[1] == name:
            found.append(clean(f"({m[2]})" + (f" -> {m[3]}" if m[3] else "")))
    return found


def facts_of(cls):
    """What the recordings say of a class; of a property, whether it may be set."""
    if members := getattr(cls, "__members__", None):
        return {"enum": {name: int(m) for name, m in members.items()}}
    methods, properties = {}, {}
    for name, what in vars(cls).items():
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(what, property):
            properties[name] = what.fset is not None
        elif callable(what) and not inspect.isclass(getattr(cls, name)):
            methods[name] = signatures(getattr(cls, name), name)
    return {"methods": methods, "properties": properties}


def ours(trt):
    """Our own code on the real module, as far as it goes without a GPU."""
    from edge.runtime.tensorrt_module import logger, version_of
    from export.trt_build import _network_flags, strongly_typed
    from export.trt_progress import Progress

    log = logger(trt)
    log.log(trt.ILogger.ERROR, "said")
    log.log(trt.ILogger.VERBOSE, "not said")
    found = {"version": version_of(trt), "lines": log.lines, "flags": _network_flags(trt),
             "strongly_typed": strongly_typed(trt)}  # fmt: skip
    if hasattr(trt, "IProgressMonitor"):
        monitor = Progress("x").monitor(trt)
        monitor.phase_start("phase", None, 2)
        found["goes_on"] = monitor.step_complete("phase", 0)
        monitor.phase_finish("phase")
    return found


def main(out):
    """Write what was found."""
    try:
        trt = importlib.import_module("tensorrt")
    except ModuleNotFoundError:
        trt = sys.modules["tensorrt"] = importlib.import_module("tensorrt_bindings")
    classes = {
        name: facts_of(cls)
        for name, cls in inspect.getmembers(trt, inspect.isclass)
        if cls.__module__.startswith("tensorrt")
    }
    found = {"version": trt.__version__, "classes": classes, "ours": ours(trt)}
    with open(out, "w") as f:
        json.dump(found, f)


if __name__ == "__main__":
    main(sys.argv[1])
