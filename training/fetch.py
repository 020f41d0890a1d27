"""Download the originals of a data set, check them, and lay them out like SONOMYO_DATA."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from training.convert import convert
from training.datasets import ENV, GITHUB, DataSet, File, cache_folder, intact


class FetchError(RuntimeError):
    """A download failed; what had arrived before is kept.  The message names the remedy."""


def fetch(
    one: DataSet,
    files: Iterable[File] | None = None,
    *,
    folder: Path | None = None,
    base: str = GITHUB,
    timeout_s: float = 20.0,
) -> Iterator[File]:
    """Yield every file of ``files`` (default: all downloadable) once it lies in ``folder``.

    A file appears whole and checked or not at all, so calling again after a failure goes on with
    what is missing; what is there and intact is not fetched again.  ``folder`` (default: the
    cache) gets one sub-folder per set, with the attribution the licence asks for.  ``timeout_s``
    limits connecting and every silence of the server.  Raises FetchError.
    """
    home = (folder or cache_folder()) / one.name
    home.mkdir(parents=True, exist_ok=True)
    (home / "ATTRIBUTION.txt").write_text(
        f"{one.title}\n\nSource: {one.source}\nLicence: {one.licence}\n{one.attribution}\n", "utf-8"
    )
    with tempfile.TemporaryDirectory(dir=home, prefix=".originals-") as originals:
        for file in one.downloadable() if files is None else files:
            target = home / file.path
            if not (target.is_file() and intact(target, file)):
                try:
                    original = _original(file, Path(originals), base, timeout_s)
                    made = convert(original, target, file.how, file.sha256_content)
                except (OSError, ValueError) as e:  # network; digest or conversion
                    raise FetchError(
                        f"{file.url(base)}: {_cause(e)}; try again, "
                        f"or set {ENV} to a folder that has {one.name}/{file.path}"
                    ) from e
                _write_whole(target, made)
            yield file


def _original(file: File, folder: Path, base: str, timeout_s: float) -> Path:
    """The original of ``file`` in ``folder``; several files may come out of the same one."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # its progress talk would break a live table
    name = file.source.replace("/", "_")
    # what is re-packed is known by its content only, after the conversion
    known = f"sha256:{file.sha256_content}" if file.how in ("copy", "gzip") else None
    if (folder / name).is_file():
        return folder / name
    return Path(
        pooch.retrieve(
            file.url(base),
            known_hash=known,
            fname=name,
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=timeout_s, chunk_size=1 << 16),
        )
    )


def _cause(e: Exception) -> str:
    """What went wrong, without the pool and the retries that urllib3 wraps around it."""
    return str(getattr(e.args[0], "reason", e) if e.args else e)


def _write_whole(target: Path, data: bytes) -> None:
    """Under its own name only once it is complete, whatever stops us."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(data)
    os.replace(part, target)
