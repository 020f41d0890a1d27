"""The ``sonomyo`` command: each sub-command lives in the file that does its work."""

import argparse
import importlib
import sys
from importlib import metadata

# command: (module with add_args(parser) and main(args) -> exit code, one line of help)
COMMANDS = {
    "demo": ("demo.main", "the whole rig on real recordings, no hardware needed"),
    "run": ("edge.daemon", "the daemon: sensors in, muscle state out, from one TOML file"),
    "record": ("edge.record_command", "record sensors without a model"),
    "replay": ("edge.replay", "run a recording through its models again and compare the states"),
    "info": ("edge.info", "what is in a recording, in a bundle, or on the USB bus"),
    "measure": ("edge.measure_command", "muscle thickness, pennation and fascicles in pictures"),
    "check": ("edge.check", "validate a configuration and reach every device in it"),
    "listen": ("edge.listen", "be the rehab device: decode packets and show a live table"),
    "export": ("training.export_command", "a model's network in fewer bits, within a budget"),
    "compare": ("training.compare_command", "a bundle's networks beside each other; a gate"),
    "build-engine": ("export.build_command", "TensorRT engines for this machine, from bundles"),
    "bundle": ("export.bundle_command", "pack, unpack, verify and sign bundles; keys to sign with"),
    "personalise": ("export.personalise_command", "a model for one wearer, from a routine"),
    "physiology": ("training.physiology_command", "one person's muscle parameters from trials"),
    "data": ("training.data_command", "list, fetch and verify the public recordings"),
    "train": ("training.train_command", "reproduce the shipped models from the recordings"),
}

EXTRAS = {"h5py": "demo", "cv2": "demo", "matplotlib": "demo", "pooch": "demo", "pyedflib": "demo",
          "torch": "train", "onnx": "train", "ray": "train"}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Entry point.  Exit codes: 0 good, 1 a check or gate failed, 2 it could not be done."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"sonomyo {metadata.version('sonomyo')}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"sonomyo: no command {argv[0]!r}\n\n{_help()}", file=sys.stderr)
        return 2
    module, text = COMMANDS[argv[0]]
    try:
        command = importlib.import_module(module)
        parser = argparse.ArgumentParser(f"sonomyo {argv[0]}", description=text)
        command.add_args(parser)
        return int(command.main(parser.parse_args(argv[1:])))
    except ModuleNotFoundError as e:
        extra = EXTRAS.get((e.name or "").partition(".")[0])
        if not extra:
            raise
        print(f"sonomyo {argv[0]} needs {e.name}: pip install 'sonomyo[{extra}]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _help() -> str:
    lines = ["usage: sonomyo COMMAND [arguments]; sonomyo COMMAND --help", ""]
    lines += [f"  {name:<12} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
