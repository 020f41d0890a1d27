"""Small real bundles, whose outputs can be computed by hand, and a whole rig around them."""

import hashlib
import json
import os
import threading
import time
import tty

import onnx
import pytest
from onnx import TensorProto, helper

from edge.config import Config, Record, Rig, Timing
from edge.daemon import Daemon
from edge.realtime import RealTime
from firmware_bridge.links.commands import encode_command
from firmware_bridge.links.receiver import Limits, Receiver
from firmware_bridge.types import Flag, Geometry, Output
from models.spec import Input, ModelSpec, State, Step

GEOMETRY = Geometry("bmode", lines=4, samples=6, dz_mm=0.2, dx_mm=0.3)
FS_HZ = 1000.0
HOP = 10
PROBE = "usb:sim?lines=4&samples=6&fps=100"
EMG = "synthetic:?fs_hz=1000&channels=MG,TA"
QUIET = RealTime(enabled=False)  # the other tests of this process want their garbage collector


def write_bundle(folder, spec, graph):
    """A bundle folder from a spec and an ONNX graph."""
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    index = {"format": 1, "spec": json.loads(spec.to_json()), "files": {"model.onnx": digest}}
    (folder / "bundle.json").write_text(json.dumps(index))
    return folder


def tensor(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.fixture
def brightness(tmp_path):
    """Ultrasound only: the mean brightness of the frame."""
    spec = ModelSpec(
        "brightness",
        (Input("image", (1, 1, 4, 6), "us", kind="bmode"),),
        (Output("brightness", "1", 0.0, 255.0),),
        period_ms=10.0,
    )
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["m"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "one"], ["values"]),
    ]
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(
        nodes, "g", [tensor("image", (1, 1, 4, 6))], [tensor("values", (1, 1))], [one]
    )
    return write_bundle(tmp_path / "brightness", spec, graph)


@pytest.fixture
def doubter(tmp_path):
    """Mean brightness b and SD 1 / log(b - 1): NaN for b = 0, 0 for 1, inf for 2, 1.44 for 3.

    Larger than 1 it is too much.  It also draws the picture it saw as a map.
    """
    spec = ModelSpec(
        "doubter",
        (Input("image", (1, 1, 4, 6), "us", kind="bmode"),),
        (Output("brightness", "1", 0.0, 255.0, max_sd=1.0),),
        period_ms=10.0,
        sd="sd",
        maps="seen",
        map_names=("bright",),
    )
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["m"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "one"], ["values"]),
        helper.make_node("Sub", ["values", "unit"], ["less"]),
        helper.make_node("Log", ["less"], ["log"]),
        helper.make_node("Reciprocal", ["log"], ["sd"]),
        helper.make_node("Identity", ["image"], ["seen"]),
    ]
    constants = [
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("unit", TensorProto.FLOAT, [1], [1.0]),
    ]
    graph = helper.make_graph(
        nodes, "g", [tensor("image", (1, 1, 4, 6))],
        [tensor("values", (1, 1)), tensor("sd", (1, 1)), tensor("seen", (1, 1, 4, 6))], constants,
    )  # fmt: skip
    return write_bundle(tmp_path / "doubter", spec, graph)


@pytest.fixture
def mapper(tmp_path):
    """Draws two maps of a frame and estimates nothing."""
    spec = ModelSpec(
        "mapper",
        (Input("image", (1, 1, 4, 6), "us", kind="bmode"),),
        (),
        period_ms=10.0,
        values="",
        maps="seen",
        map_names=("bright", "again"),
    )
    nodes = [helper.make_node("Concat", ["image", "image"], ["seen"], axis=1)]
    graph = helper.make_graph(
        nodes, "g", [tensor("image", (1, 1, 4, 6))], [tensor("seen", (1, 2, 4, 6))]
    )
    return write_bundle(tmp_path / "mapper", spec, graph)


@pytest.fixture
def adder(tmp_path):
    """EMG only, recurrent: the running sum of the mean rectified EMG of each hop."""
    spec = ModelSpec(
        "adder",
        (
            Input(
                "emg", (1, 1), "emg", (Step("rectify"), Step("bin")),
                rate_hz=FS_HZ, hop=HOP, channels=("TA",),
            ),
        ),
        (Output("sum", "uV"),),
        period_ms=10.0,
        states=(State("h", "h_next", (1, 1)),),
    )  # fmt: skip
    nodes = [
        helper.make_node("Add", ["emg", "h"], ["values"]),
        helper.make_node("Identity", ["values"], ["h_next"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [tensor("emg", (1, 1)), tensor("h", (1, 1))],
        [tensor("values", (1, 1)), tensor("h_next", (1, 1))],
    )  # fmt: skip
    return write_bundle(tmp_path / "adder", spec, graph)


@pytest.fixture
def elbow(tmp_path):
    """Joint angle q and load m, recurrent, a step per tick: q - the q of the step before, and m q.

    It settles in 20 ms and knows 0 to 140 deg, 0 to 5 kg.
    """
    inputs = (
        Input("q", (1, 1), "angle", min=0.0, max=140.0),
        Input("m", (1, 1), "load", min=0.0, max=5.0),
    )
    spec = ModelSpec(
        "elbow",
        inputs,
        (Output("moved", "deg"), Output("effort", "kg deg")),
        period_ms=10.0,
        states=(State("before", "now", (1, 1)),),
        settle_ms=20.0,
    )
    nodes = [
        helper.make_node("Sub", ["q", "before"], ["moved"]),
        helper.make_node("Mul", ["q", "m"], ["effort"]),
        helper.make_node("Concat", ["moved", "effort"], ["values"], axis=1),
        helper.make_node("Identity", ["q"], ["now"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [tensor(name, (1, 1)) for name in ("q", "m", "before")],
        [tensor("values", (1, 2)), tensor("now", (1, 1))],
    )  # fmt: skip
    return write_bundle(tmp_path / "elbow", spec, graph)


@pytest.fixture
def goniometer(tmp_path):
    """Ultrasound only: half the mean brightness of the frame, called an angle; 200 is a fault."""
    spec = ModelSpec(
        "goniometer",
        (Input("image", (1, 1, 4, 6), "us", kind="bmode"),),
        (Output("brightness", "1"), Output("angle", "deg", 0.0, 99.0)),
        period_ms=10.0,
    )
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["m"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "one"], ["b"]),
        helper.make_node("Mul", ["b", "factors"], ["values"]),
    ]
    constants = [
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("factors", TensorProto.FLOAT, [1, 2], [1.0, 0.5]),
    ]
    graph = helper.make_graph(
        nodes, "g", [tensor("image", (1, 1, 4, 6))], [tensor("values", (1, 2))], constants
    )
    return write_bundle(tmp_path / "goniometer", spec, graph)


@pytest.fixture
def lifter(tmp_path):
    """EMG and load: the mean rectified EMG of each hop, times the load."""
    spec = ModelSpec(
        "lifter",
        (
            Input(
                "emg", (1, 1), "emg", (Step("rectify"), Step("bin")),
                rate_hz=FS_HZ, hop=HOP, channels=("TA",),
            ),
            Input("m", (1, 1), "load", min=0.0, max=5.0),
        ),
        (Output("effort", "uV kg"),),
        period_ms=10.0,
    )  # fmt: skip
    nodes = [helper.make_node("Mul", ["emg", "m"], ["values"])]
    graph = helper.make_graph(
        nodes, "g", [tensor("emg", (1, 1)), tensor("m", (1, 1))], [tensor("values", (1, 1))]
    )
    return write_bundle(tmp_path / "lifter", spec, graph)


@pytest.fixture
def seer(tmp_path):
    """EMG only: the mean rectified EMG x of each hop, as it was 5 ms ago; it will be 2 x and 3 x.

    Foreseen 10 and 30 ms ahead.
    """
    spec = ModelSpec(
        "seer",
        (
            Input(
                "emg", (1, 1), "emg", (Step("rectify"), Step("bin")),
                rate_hz=FS_HZ, hop=HOP, channels=("TA",),
            ),
        ),
        (Output("now", "uV", 0.0, 1e4),),
        period_ms=10.0,
        delay_ms=5.0,
        ahead="ahead",
        ahead_ms=(10.0, 30.0),
    )  # fmt: skip
    nodes = [
        helper.make_node("Identity", ["emg"], ["values"]),
        helper.make_node("Mul", ["emg", "factors"], ["ahead"]),
    ]
    factors = helper.make_tensor("factors", TensorProto.FLOAT, [1, 2], [2.0, 3.0])
    graph = helper.make_graph(
        nodes, "g", [tensor("emg", (1, 1))], [tensor("values", (1, 1)), tensor("ahead", (1, 2))],
        [factors],
    )  # fmt: skip
    return write_bundle(tmp_path / "seer", spec, graph)


class Port:
    """A pseudo-terminal whose reader may be slow, and which can be pulled out."""

    def __init__(self, folder):
        self.path = folder / "port"
        self.plug()
        self.receiver = Receiver(Limits(reject=Flag.FAULT))
        self.states, self.reading = [], threading.Event()
        self.reading.set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def plug(self):
        self.fd, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.fd, False)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self._slave))

    def unplug(self):
        fd, self.fd = self.fd, -1
        os.close(self._slave)
        os.close(fd)

    def send(self, command):
        os.write(self.fd, encode_command(command, time.monotonic_ns()))

    def close(self):
        self._stop.set()
        self._thread.join()
        if self.fd >= 0:
            self.unplug()

    def _read(self):
        while not self._stop.is_set():
            time.sleep(0.002)
            if self.reading.is_set() and self.fd >= 0:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    continue
                self.states += self.receiver.feed(data, time.monotonic_ns())


@pytest.fixture
def port(tmp_path):
    p = Port(tmp_path)
    yield p
    p.close()


@pytest.fixture
def run(tmp_path, port, brightness, adder):
    """Start a daemon; it serves until the test ends."""
    started = []

    def start(
        probe=PROBE,
        emg=EMG,
        models=(brightness, adder),
        timing=None,
        record=False,
        engine=None,
        **joint,
    ):
        config = Config(
            rig=Rig(probe=probe, emg=emg, links=(f"serial:{port.path}",), **joint),
            models=tuple(str(m) for m in models),
            timing=timing or Timing(max_us_age_ms=150, max_emg_age_ms=150),
            realtime=QUIET,
            record=Record(folder=str(tmp_path / "out")) if record is True else record or Record(),
        )
        daemon, stop = Daemon(config), threading.Event()
        if engine:  # stands for a processor that is slower, or broken
            daemon.estimators[0].engine = engine(daemon.estimators[0].engine)
        daemon.start()
        thread = threading.Thread(target=daemon.serve, args=(stop.is_set,))
        thread.start()

        def end():
            stop.set()
            thread.join()
            daemon.close()

        daemon.end = end
        started.append(end)
        return daemon

    yield start
    for end in started:
        end()
