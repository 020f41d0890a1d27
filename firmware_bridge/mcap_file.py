"""How an unchunked MCAP file begins, continues and ends (https://mcap.dev/spec).

``magic, Header, Metadata…, Channel…, Message…, DataEnd, summary, Footer, magic``.  Messages lie
in the file one after the other: if the writer is killed, all but its last record is whole.

A record is ``opcode u8, length u64le, body``; a message's body begins ``channel u16, sequence u32,
log_time u64, publish_time u64``.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    DataEnd,
    Footer,
    Header,
    Metadata,
    MetadataIndex,
    Statistics,
    SummaryOffset,
)

MAGIC = b"\x89MCAP0\r\n"
PREFIX = struct.Struct("<BQ")  # opcode, length of the body
MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log_time, publish_time
FOOTER_BYTES = PREFIX.size + 8 + 8 + 4 + len(MAGIC)


@dataclass
class Tally:
    """What the summary at the end of a file says about the records before it."""

    channels: dict[int, Channel] = field(default_factory=dict)
    metadata: list[MetadataIndex] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)  # messages per channel
    first_ns: int = 0  # log times
    last_ns: int = 0

    def add(self, channel: int, log_ns: int) -> int:
        """Count a message; its sequence number in its channel."""
        n = self.counts.get(channel, 0)
        self.counts[channel] = n + 1
        self.first_ns = min(self.first_ns or log_ns, log_ns)
        self.last_ns = max(self.last_ns, log_ns)
        return n


def head(
    library: str, metadata: Mapping[str, Mapping[str, str]], channels: Sequence[Channel]
) -> tuple[bytes, Tally]:
    """Everything before the first message, and the tally it starts."""
    tally = Tally({c.id: c for c in channels})
    out = RecordBuilder()
    out.write(MAGIC)
    Header("sonomyo", library).write(out)
    for name, values in metadata.items():
        at = out.count
        Metadata(name, dict(values)).write(out)
        tally.metadata.append(MetadataIndex(at, out.count - at, name))
    for channel in channels:
        channel.write(out)
    return bytes(out.end()), tally


def message_head(channel: int, sequence: int, log_ns: int, published_ns: int, size: int) -> bytes:
    """What comes before the ``size`` bytes of a message."""
    return _MESSAGE_RECORD.pack(
        Opcode.MESSAGE, MESSAGE.size + size, channel, sequence, log_ns, published_ns
    )


def tail(start: int, data_crc: int, tally: Tally) -> bytes:
    """Everything after the last message; ``start`` bytes of CRC-32 ``data_crc`` come before."""
    out = RecordBuilder()
    DataEnd(data_crc).write(out)
    data_end = bytes(out.end())
    summary_start = start + len(data_end)
    statistics = Statistics(
        attachment_count=0,
        channel_count=len(tally.channels),
        channel_message_counts=tally.counts,
        chunk_count=0,
        message_count=sum(tally.counts.values()),
        message_end_time=tally.last_ns,
        message_start_time=tally.first_ns,
        metadata_count=len(tally.metadata),
        schema_count=0,
    )
    groups = {
        Opcode.CHANNEL: list(tally.channels.values()),
        Opcode.STATISTICS: [statistics],
        Opcode.METADATA_INDEX: tally.metadata,
    }
    offsets = []
    for opcode, records in groups.items():
        at = out.count
        for record in records:
            record.write(out)
        offsets.append(SummaryOffset(opcode, summary_start + at, out.count - at))
    offset_start = summary_start + out.count
    for offset in offsets:
        offset.write(out)
    summary = bytes(out.end())
    # The summary's CRC covers the footer, too, up to the CRC itself.
    fixed = PREFIX.pack(Opcode.FOOTER, 20) + struct.pack("<QQ", summary_start, offset_start)
    Footer(summary_start, offset_start, zlib.crc32(fixed, zlib.crc32(summary))).write(out)
    return data_end + summary + bytes(out.end()) + MAGIC


def walk(f: IO[bytes], size: int) -> Iterator[tuple[Opcode, int, int]]:
    """``(opcode, offset, length of the body)`` of every whole record, ``f`` standing at its body.

    Ends without an exception after the last whole record, or at bytes that are no record; a file
    that was closed gives ``DATA_END`` before that.
    """
    at = len(MAGIC)
    f.seek(at)
    while at + PREFIX.size <= size:
        opcode, length = PREFIX.unpack(f.read(PREFIX.size))
        end = at + PREFIX.size + length
        if opcode not in _OPCODES or end > size or (opcode == 5 and length < MESSAGE.size):
            return
        yield Opcode(opcode), at, length
        at = end
        f.seek(at)


def is_closed(f: IO[bytes], size: int) -> bool:
    """Whether the file ends as a closed file does."""
    if size < len(MAGIC) + FOOTER_BYTES:
        return False
    f.seek(size - FOOTER_BYTES)
    end = f.read(FOOTER_BYTES)
    return end.startswith(PREFIX.pack(Opcode.FOOTER, 20)) and end.endswith(MAGIC)


_MESSAGE_RECORD = struct.Struct(PREFIX.format + MESSAGE.format[1:])
_OPCODES = frozenset(int(o) for o in Opcode)
