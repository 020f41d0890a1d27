"""``python tests/fakes/trt_api/pack.py FOLDER``: packs FOLDER/trt-VERSION.json for the fake.

What is read out of the bindings and how is in the README beside this file.
"""

import gzip
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
FILE = HERE / "api.json.gz"

# What an engine can be built, inspected and run with; the rest of TensorRT we leave alone.
KEPT = (
    "Builder", "BuilderFlag", "DataType", "Dims", "EngineInspector", "IBuilderConfig",
    "ICudaEngine", "IExecutionContext", "IHostMemory", "ILogger", "INetworkDefinition",
    "IProfiler", "IProgressMonitor", "ITimingCache", "LayerInformationFormat", "Logger",
    "MemoryPoolType", "NetworkDefinitionCreationFlag", "OnnxParser", "OnnxParserFlag",
    "ParserError", "PreviewFeature", "ProfilingVerbosity", "Runtime", "TacticSource",
    "TensorIOMode", "TensorLocation",
)  # fmt: skip


def main(folder: Path) -> None:
    """Write ``api.json.gz``: the same bytes for the same input."""
    found = {}
    for path in sorted(folder.glob("trt-*.json")):
        raw = json.loads(path.read_text())
        found[raw["tensorrt"]] = {name: raw["classes"][name] for name in KEPT
                                  if name in raw["classes"]}  # fmt: skip
    text = json.dumps(found, sort_keys=True, separators=(",", ":"))
    with FILE.open("wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as packed:
        packed.write(text.encode())
    print(FILE, FILE.stat().st_size, "bytes:", *found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
