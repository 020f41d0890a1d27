"""A rehab device on a serial port: ``serial:PORT?baud=921600``.

``PORT`` is a path; one under ``/dev/serial/by-id`` still names the same device after a replug::

    serial:/dev/serial/by-id/usb-Lab_Orthosis_0042-if00
    serial:/dev/ttyTHS1?baud=460800
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from firmware_bridge.address import Address
from firmware_bridge.links import HELLO_NS
from firmware_bridge.links.commands import Command, Hello, Refused, decode_command
from firmware_bridge.links.packet import (
    COMMAND,
    Ack,
    Decoder,
    Info,
    Packet,
    Status,
    encode_ack,
    encode_info,
    encode_state,
)
from firmware_bridge.links.port import drain, open_port, queued, read, wait
from firmware_bridge.types import UNKNOWN_NS, DeviceError, MuscleState

log = logging.getLogger(__name__)

HELD_NS = 50_000_000  # nothing of ours may lie in a buffer for longer: its age would be a lie
CUT = b"\xff\0"  # ends a torn packet so that it is wrong even if only its delimiter was missing
BACKOFF_S = (0.1, 2.0)  # first and longest pause between attempts to re-open
MAX_WAITING = 256  # commands nobody has asked for yet
READ_BYTES = 4096
POLL_BYTES = 256  # ten measurements: more at once is a backlog, and not for a tick to work through


def open_serial(address: str) -> "SerialLink":
    """Open ``serial:PORT?baud=N``.  Raises DeviceError with the remedy."""
    a = Address(address)
    baud = a.take("baud", 921600, int)
    a.done()
    return SerialLink(address, a.target, baud)


class SerialLink:
    """Writes from the caller's thread, never waiting; reads and re-opens in a thread of its own.

    Whoever wants the newest commands may read, too (``poll``).  A state that cannot start now is
    dropped: the next one is newer and a period away.
    """

    live = True

    def __init__(self, address: str, path: str, baud: int):
        self.address, self._path, self._baud = address, path, baud
        self.counters = dict.fromkeys(
            ("sent", "dropped", "cut", "write_errors", "reconnects", "refused"), 0
        )
        self._decoder = Decoder(self.counters)
        self._commands: deque[Command] = deque()
        self._acks: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._hello_ns = UNKNOWN_NS
        self._infos = 0
        self.watch: Callable[[Command], Status] | None = None
        self._lock = threading.Lock()  # held until a state is handed over, or to exchange the port
        self._reading = threading.Lock()  # held to read and decode; comes before the other
        self._closing = threading.Event()
        self._fd = -1  # of the port; -1 while there is none
        self._rest, self._rest_ns = b"", 0  # of a packet the port took only in part, and since when
        self._empty_ns = 0  # when the port's buffer was last seen empty
        self._use(open_port(path, baud), b"\0")
        self._thread = threading.Thread(target=self._listen, name="serial link", daemon=True)
        self._thread.start()

    def send(self, state: MuscleState, at_ns: int = 0) -> int:
        """See ``Link.send``.  Takes waiting acknowledgements along."""
        with self._lock:
            now_ns = max(time.monotonic_ns(), at_ns)
            ok = self._clear(now_ns)
            if ok:
                acks = [self._acks.popleft() for _ in range(len(self._acks))]
                data = b"".join((encode_state(state, now_ns), *acks))
                while (now_ns := time.monotonic_ns()) < at_ns:
                    pass
                ok = self._write(data, now_ns)
            self.counters["sent" if ok else "dropped"] += 1
        return now_ns if ok else 0

    def send_info(self, info: Info) -> bool:
        """See ``Link.send_info``."""
        with self._lock:
            now_ns = time.monotonic_ns()
            ok = self._clear(now_ns) and self._write(encode_info(info, self._infos), now_ns)
            self._infos += ok
            self.counters["dropped"] += not ok
        return ok

    def commands(self) -> list[Command]:
        """See ``Link.commands``."""
        return [self._commands.popleft() for _ in range(len(self._commands))]

    def poll(self) -> None:
        """See ``Link.poll``.  What the listening thread decodes just now it will have in a moment;
        waiting for a thread of lower rank is not for the tick.
        """
        if self._reading.acquire(blocking=False):
            try:
                self._read(POLL_BYTES)
            finally:
                self._reading.release()

    def peer_alive(self, now_ns: int) -> bool:
        """See ``Link.peer_alive``."""
        return self._hello_ns != UNKNOWN_NS and now_ns - self._hello_ns <= HELLO_NS

    def close(self) -> None:
        """Give the last packets a moment to leave, then release the port; may be called twice."""
        self._closing.set()
        self._thread.join()
        with self._reading, self._lock:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            drain(fd)
        self._port.close()

    def _clear(self, now_ns: int) -> bool:
        """Whether a packet may start now; finishes the one before it.  Holds the lock."""
        if self._fd < 0:
            return False
        try:
            if queued(self._fd) == 0:
                self._empty_ns = now_ns
        except OSError:
            self._gone()
            return False
        if self._rest and now_ns - self._rest_ns > HELD_NS:
            self.counters["cut"] += self._rest != CUT
            self._rest = CUT
        if self._rest and not self._write(self._rest, self._rest_ns):
            return False
        return not self._rest and now_ns - self._empty_ns <= HELD_NS

    def _write(self, data: bytes, since_ns: int) -> bool:
        """Whether the port took ``data``, or the beginning of it.  Holds the lock."""
        try:
            n = os.write(self._fd, data)
        except BlockingIOError:
            return False
        except OSError:
            self._gone()
            return False
        self._rest, self._rest_ns = data[n:], since_ns
        return True

    def _gone(self) -> None:
        self.counters["write_errors"] += 1
        self._fd = -1  # tells the listening thread, which closes and re-opens the port

    def _use(self, port: Any, first: bytes) -> None:
        with self._lock:
            self._port, self._fd = port, int(port.fileno())
            self._empty_ns = time.monotonic_ns()
            self._write(first, self._empty_ns)  # whatever the line carried before ends here

    def _listen(self) -> None:
        while not self._closing.is_set():
            fd = self._fd
            if fd >= 0 and not wait(fd):
                continue
            with self._reading:
                there = self._read(READ_BYTES)
            if not there:
                self._reopen()

    def _read(self, most: int) -> bool:
        """Take what arrived, without waiting; False: the port is gone.  Holds ``_reading``."""
        fd = self._fd
        data = read(fd, most) if fd >= 0 else b""
        if data:
            now_ns = time.monotonic_ns()
            for packet in self._decoder.feed(data):
                self._take(packet, now_ns)
        return data != b""

    def _take(self, packet: Packet, now_ns: int) -> None:
        if not packet.kind & COMMAND:  # our own, echoed: an answer would go round for ever
            self.counters["refused"] += 1
            return
        command = decode_command(packet, now_ns)
        status = command.status if isinstance(command, Refused) else self._accept(command, now_ns)
        self.counters["refused"] += status != Status.OK
        self._acks.append(encode_ack(Ack(packet.seq, packet.kind, status)))

    def _accept(self, command: Command, now_ns: int) -> Status:
        if isinstance(command, Hello):
            self._hello_ns = now_ns
        status = self.watch(command) if self.watch else Status.OK
        if status == Status.OK and len(self._commands) >= MAX_WAITING:
            return Status.NOT_NOW
        if status == Status.OK:
            self._commands.append(command)
        return status

    def _reopen(self) -> None:
        log.warning("%s is gone; waiting for it to come back", self.address)
        with self._reading:
            with self._lock:
                self._fd = -1
            self._port.close()  # first: while it is held, the device comes back under another name
            self._decoder.feed(b"\0")
        pause_s, longest_s = BACKOFF_S
        while not self._closing.wait(pause_s):
            pause_s = min(2 * pause_s, longest_s)
            try:
                self._use(open_port(self._path, self._baud), CUT)
            except DeviceError:
                continue
            self.counters["reconnects"] += 1
            log.warning("%s is back", self.address)
            return
