"""A zip archive that nobody vouches for, read in memory: plain files under plain names, bounded.

What the format allows beyond that is refused: paths, links, encryption, comments, other data before
or behind, two members of one name, zip64.  Nothing is ever written.
"""

import io
import re
import stat
import struct
import zipfile
import zlib

MAX_MEMBERS = 64
MAX_BYTES = 512 << 20  # unpacked, all members together; no member may have more than half
MAX_RATIO = 200  # of unpacked to packed bytes; of networks it is below 10
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)  # hence no path, no hidden file

_END = struct.Struct("<4s4H2LH")  # end of central directory: the last bytes of a file
# What zipfile says of malformed archives.
_MALFORMED = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OverflowError, RuntimeError,
)  # fmt: skip
_MAX_DIRECTORY = MAX_MEMBERS * 256
_SLACK = 16 << 20  # an archive may unpack to this much, however well it is packed


def plain_name(name: str) -> bool:
    """Whether a name is that of a file beside the others, on every file system."""
    return NAME.fullmatch(name) is not None and not name.endswith(".")


def unzip(data: bytes) -> dict[str, bytes]:
    """Members by name.  Raises ValueError with what is wrong, and no remedy."""
    count = _check_end(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) != count:  # zipfile itself does not compare
                raise ValueError(f"an archive of {len(members)} members that says {count}")
            _check_members(members, len(data))
            return {m.filename: _read(archive, m) for m in members}
    except _MALFORMED as e:
        raise ValueError(f"not a whole zip archive: {e}") from e


def _check_end(data: bytes) -> int:
    """How many members there are.  Refuses what would make zipfile search, or list very many."""
    if len(data) < _END.size:
        raise ValueError("not a whole zip archive: too short")
    mark, *numbers = _END.unpack(data[-_END.size :])
    disk, first_disk, here, members, size, start, comment = numbers
    if mark != b"PK\5\6" or comment:
        raise ValueError("not a whole zip archive: it does not end as one")
    if members > MAX_MEMBERS or size > _MAX_DIRECTORY:
        raise ValueError(f"an archive of {members} members; {MAX_MEMBERS} are allowed")
    if disk or first_disk or here != members or start + size != len(data) - _END.size:
        raise ValueError("an archive with other data before or behind it, or in several parts")
    if data[:4] not in (b"PK\3\4", mark):
        raise ValueError("an archive with other data before it")
    return int(members)


def _check_members(members: list[zipfile.ZipInfo], packed: int) -> None:
    names = [m.orig_filename for m in members]
    for m in members:
        name = m.orig_filename  # as it stands there: filename ends at a zero byte
        if not plain_name(name) or name != m.filename:
            raise ValueError(f"a member called {name[:80]!r}: only plain file names are allowed")
        kind = stat.S_IFMT(m.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise ValueError(f"{name} is a link or a device, not a file")
        if m.flag_bits & 1 or m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is encrypted, or neither stored nor deflated")
        if m.file_size > MAX_BYTES // 2:
            raise ValueError(f"{name} has {m.file_size} bytes; {MAX_BYTES // 2} are allowed")
    if len({name.lower() for name in names}) < len(names):
        raise ValueError("two members of one name, but for capitals")
    total = sum(m.file_size for m in members)
    if total > min(MAX_BYTES, MAX_RATIO * packed + _SLACK):
        raise ValueError(f"an archive of {packed} bytes that unpacks to {total}")


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Never more than the member says it has, whatever its packed data make of that."""
    with archive.open(member) as file:
        data = file.read(member.file_size + 1)
    if len(data) != member.file_size:
        raise ValueError(f"{member.filename} has {len(data)} bytes, not {member.file_size}")
    return data
