"""``muscle_state.h`` under the sanitizers, held against the Python decoder and receiver."""

import binascii
import math
import random
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cobs import cobs

from firmware_bridge.links.commands import Encoder, Hello, Load, Mark, Start, Stop, encode_command
from firmware_bridge.links.packet import (
    MAX_BODY,
    MAX_VALUES,
    UNKNOWN_AGE,
    VERSION,
    Ack,
    Decoder,
    Info,
    Kind,
    Status,
    age_us,
    decode_ack,
    decode_info,
    decode_state,
    encode_ack,
    encode_info,
    encode_state,
)
from firmware_bridge.links.receiver import REJECT, Limits, Reason, Receiver
from firmware_bridge.types import UNKNOWN_NS, Flag, MuscleState, Output

HERE = Path(__file__).parent
HEADERS = Path(__file__).parents[3] / "firmware_bridge" / "c"
STRICT = ["-Wall", "-Wextra", "-Werror", "-Wshadow", f"-I{HEADERS}"]
SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
MS = 1_000_000

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
needs_cpp = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")

# version 1, STATE, flags LATE|REPLAY, seq 5, age 12345 us, values 1.5 and -2.0, no SD
GOLDEN = "04010184 0205 01 01 033930 01 0202 01 01 01 01 03c03f 01 01 04c08944 00"

ARDUINO = """
#include <stddef.h>
#include <stdint.h>
enum { INPUT_PULLUP, OUTPUT, LOW, HIGH };
void pinMode(int, int); int digitalRead(int); void analogWrite(int, int);
uint32_t micros(); uint32_t millis();
struct Port { void begin(long); int available(); int read(); void write(const uint8_t *, size_t); };
extern Port Serial;
"""


def gcc(*arguments: object) -> None:
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("c") / "harness"
    gcc("gcc", *STRICT, "-std=c99", *SANITIZE, HERE / "harness.c", "-o", out)
    return out


def ask(harness: Path, what: str, stdin: bytes = b"") -> list[str]:
    done = subprocess.run([harness, what], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode(errors="replace").splitlines()


@pytest.mark.parametrize("header", ["muscle_state.h", "muscle_commands.h"])
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_a_header_compiles_by_itself_without_any_library(
    header: str, level: str, tmp_path: Path
) -> None:
    source = tmp_path / "alone.c"
    source.write_text(f'#include "{header}"\n#include "{header}"\ntypedef int nothing;\n')
    options = ["-std=c99", "-pedantic", "-ffreestanding", "-Wconversion", level]
    gcc("gcc", *STRICT, *options, "-c", source, "-o", tmp_path / "alone.o")


@needs_cpp
def test_the_headers_and_the_arduino_example_are_cpp_too(tmp_path: Path) -> None:
    sketch = tmp_path / "sketch.cpp"
    sketch.write_text(ARDUINO + (HEADERS / "example_arduino.ino").read_text())
    gcc("g++", *STRICT, "-std=c++11", "-c", sketch, "-o", tmp_path / "sketch.o")


def test_a_receiver_for_states_only_is_small(tmp_path: Path) -> None:
    source = tmp_path / "small.c"
    source.write_text(
        '#include "muscle_state.h"\n'
        "enum { BYTES = sizeof(ms_decoder) + sizeof(ms_state) + sizeof(ms_receiver) };\n"
        "typedef char fits[BYTES <= 700 ? 1 : -1];\n"
    )
    gcc("gcc", *STRICT, "-std=c99", "-DMS_MAX_BODY=274", "-c", source, "-o", tmp_path / "small.o")


def test_numbers_are_those_of_the_python_side(harness: Path) -> None:
    expected = [
        [VERSION, MAX_VALUES, MAX_BODY, 80],
        [*Kind],
        [*Flag],
        [*Status],
        [*Reason],
        [Limits(10.0).silence_us, Limits().good_needed, REJECT],
        [Limits(50.0).silence_us, 0x29B1],
    ]
    assert [[int(n) for n in line.split()] for line in ask(harness, "numbers")] == expected


def test_golden_bytes_mean_the_same_in_c(harness: Path) -> None:
    lines = ask(harness, "decode", bytes.fromhex(GOLDEN))
    assert lines == ["state 5 132 12345 3fc00000 c0000000", "errors 0 0 0 0 0"]


def as_c_prints(data: bytes) -> list[str]:
    """What the harness prints for ``data``, by the Python decoder."""
    decoder, lines = Decoder(), []
    for p in decoder.feed(data):
        if (s := decode_state(p, 0)) is not None:
            numbers = [f"{bits:08x}" for bits in s.values.view(np.uint32)]
            numbers += [
                f"sd{b:08x}" for b in (s.sd if s.sd is not None else s.values[:0]).view("u4")
            ]
            age = UNKNOWN_AGE if s.t_ns == UNKNOWN_NS else age_us(s.t_ns, 0)
            lines.append(" ".join(["state", str(s.seq), str(int(s.flags)), str(age), *numbers]))
        elif (info := decode_info(p)) is not None:
            outputs = [f"{o.name}[{o.unit}]{o.min:g}..{o.max:g}" for o in info.outputs]
            head = ["info", str(round(info.period_ms * 1000)), str(int(info.flags)), info.model_id]
            lines.append(" ".join(head + outputs))
        elif (ack := decode_ack(p)) is not None:
            lines.append(f"ack {ack.seq} {ack.kind} {int(ack.status)}")
    c = decoder.counters
    return [*lines, f"errors {c['cobs']} {c['crc']} {c['length']} {c['version']} {c['kind']}"]


def some_packets(rng: random.Random, count: int) -> list[bytes]:
    packets = []
    for seq in range(count):
        n = rng.choice((0, 1, 2, 7, MAX_VALUES))
        values = np.array([rng.uniform(-99, 99) * rng.choice((0, 1)) for _ in range(n)], np.float32)
        t_ns = rng.choice((UNKNOWN_NS, -1_000, -10 * MS, -(10**14)))
        sd = values if rng.random() < 0.3 else None
        packets.append(encode_state(MuscleState(seq, t_ns, Flag(seq % 512), values, sd), 0))
        if seq % 10 == 0:
            outputs = tuple(Output(f"value{i}", "N m", -i, 10 * i) for i in range(n))
            packets.append(encode_info(Info("model@0123", 10.0, outputs, Flag.REPLAY), seq))
            packets.append(encode_ack(Ack(seq, Kind.MARK, Status.OUT_OF_RANGE)))
    return packets


def test_c_decodes_all_kinds_as_python_does(harness: Path) -> None:
    data = b"".join(some_packets(random.Random(1), 200))
    lines = ask(harness, "decode", data)
    assert lines == as_c_prints(data)
    assert lines[200 + 2 * 20 :] == ["errors 0 0 0 0 0"]


def test_c_survives_torn_and_fuzzed_bytes_and_finds_the_same_packets(harness: Path) -> None:
    rng = random.Random(20)
    stream = bytearray()
    for packet in some_packets(rng, 3000):
        damaged = bytearray(packet)
        match rng.randrange(6):
            case 0:
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            case 1:
                del damaged[rng.randrange(len(damaged)) :]
            case 2:
                del damaged[: rng.randrange(len(damaged))]
            case 3:
                damaged[:0] = rng.randbytes(rng.choice((1, 5, 300, 3000)))
        stream += damaged
    lines = ask(harness, "decode", bytes(stream))
    assert lines == as_c_prints(bytes(stream))
    assert len(lines) > 800
    assert min(map(int, lines[-1].split()[1:4])) > 0


@pytest.mark.parametrize("kind", [Kind.STATE, Kind.INFO, Kind.ACK])
def test_c_survives_payloads_that_lie_about_their_length(harness: Path, kind: Kind) -> None:
    rng = random.Random(kind)
    stream = b""
    for _ in range(2000):
        n, has_sd = rng.randrange(40), rng.randrange(3)
        right = 4 * n * (1 + has_sd) if kind == Kind.STATE else 9 * n
        body = bytes((1, kind)) + rng.randbytes(6) + rng.randbytes(4) + bytes((n, has_sd, 0, 0))
        body += bytes(
            rng.choices((0, 1, 2, 3, 200), k=max(right + rng.choice((-4, -1, 0, 0, 1, 4)), 0))
        )
        body = body[: rng.choice((8, 12, 15, 3000, 3000, 3000))]
        stream += cobs.encode(body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "little")) + b"\0"
    lines = ask(harness, "decode", stream)
    assert lines[-1].startswith("errors 0 0 ")
    if kind == Kind.STATE:
        assert lines[:-1] == as_c_prints(stream)[:-1]
        assert len(lines) > 100


def test_commands_of_c_are_those_of_python(harness: Path) -> None:
    expected = [
        Hello(1, 0, "orthosis"),
        Start(0x01020300, 0),
        Stop(3, 0),
        Encoder(4, -250_000, -12.5, 90.0),
        Load(5, UNKNOWN_NS, 3.25, "N m"),
        Mark(6, 0, 700, "grüß"),
        Mark(7, 0, 0, "x" * 63),
        Hello(8, 0, "x" * 30),
    ]
    assert ask(harness, "encode") == [encode_command(c, 0).hex() for c in expected]


class Twins:
    """The Python receiver, and the script that makes the C one live through the same."""

    def __init__(self, max_age_us: int, good: int, start_us: int, first_seq: int):
        self.python = Receiver(Limits(10.0, max_age_us / 1000, good_needed=good))
        self.stdin = struct.pack("<cIII", b"N", 10_000, max_age_us, good)
        self.expected: list[str] = []
        self.now_us, self.seq = start_us, first_seq

    def state(self, step: int = 1, flags: int = 0, age: int = 8000, value: float = 1.0) -> bytes:
        self.seq = (self.seq + step) % 2**32
        t_ns = UNKNOWN_NS if age == UNKNOWN_AGE else -age * 1000
        values = np.array([1.0, value], np.float32)
        return encode_state(MuscleState(self.seq, t_ns, Flag(flags), values), 0)

    def give(self, data: bytes) -> None:
        self.stdin += struct.pack("<cIH", b"T", self.now_us % 2**32, len(data)) + data
        self.python.feed(data, self.now_us * 1000)

    def check(self) -> None:
        self.stdin += struct.pack("<cI", b"C", self.now_us % 2**32)
        v, p = self.python.check(self.now_us * 1000), self.python
        self.expected.append(f"{v.safe:d} {v.reason:d} {p._good} {p._age_us}")

    def rearm(self) -> None:
        self.stdin += b"R"
        self.expected.append(f"{self.python.rearm():d}")


def live_through(twins: Twins, rng: random.Random) -> None:
    """A random quarter of a second to a minute, with everything that can go wrong."""
    waits_us = (0, 1, 2_500, 4_900, 5_100, 9_900, 10_000, 10_100, 40_000, 99_999, 100_000, 100_001)
    for _ in range(30):
        kind = rng.randrange(10)
        if kind < 4:  # all is well, and somebody arms it
            for _ in range(rng.randrange(1, 12)):
                twins.now_us += 10_000 + rng.randrange(-3000, 3000)
                twins.give(twins.state())
            twins.rearm()
        elif kind < 7:
            twins.now_us += rng.choice((*waits_us, 10**7))
            twins.give(
                twins.state(
                    step=rng.choice((1, 1, 1, 2, 9, 300, 0, -1, -5, 2**31 - 1, 2**31, 2**31 + 1)),
                    flags=rng.choice((0, 0, 0, 4, 8, 32, 64, 1, 2, 16, 128, 256, 511, 0x8000)),
                    age=rng.choice((0, 8000, 8000, 49_000, 50_000, 50_001, UNKNOWN_AGE)),
                    value=rng.choice((0.0, 1.0, 1.0, 1.0, -3e38, math.nan, math.inf)),
                )
            )
        elif kind == 7:  # a stall of the line, then all that piled up at once
            count = rng.randrange(2, 40)
            twins.now_us += count * 10_000
            for _ in range(count):
                twins.give(twins.state())
                twins.now_us += rng.choice((0, 100, 4_000, 6_000))
        elif kind == 8:
            twins.give(twins.state()[rng.randrange(1, 9) :])
        else:
            twins.now_us += rng.choice(waits_us)
        twins.check()


@pytest.mark.parametrize("seed", range(4))
def test_c_and_python_judge_every_scenario_alike(harness: Path, seed: int) -> None:
    rng = random.Random(seed)
    stdin, expected = b"", []
    for _ in range(100):
        twins = Twins(
            max_age_us=rng.choice((50_000, 300_000)),
            good=rng.choice((1, 3)),
            start_us=rng.choice((0, 10_000, 2**32 - 100_000)),
            first_seq=rng.choice((0, 1_000, 2**32 - 5)),
        )
        live_through(twins, rng)
        stdin += twins.stdin
        expected += twins.expected
    assert ask(harness, "judge", stdin) == expected
    reasons = {line.split()[1] for line in expected if " " in line}
    assert reasons == {str(int(r)) for r in Reason}
