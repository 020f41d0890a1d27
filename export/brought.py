"""Anybody's ONNX file with a spec, as a bundle: what ``sonomyo export FILE.onnx`` begins with."""

from collections.abc import Collection
from pathlib import Path

from edge.bundle import CARD, MODEL, Bundle
from export.bundle import write_bundle
from export.foreign import bring
from export.foreign_spec import read_contract
from export.onnx_graph import ExportError

CARD_TEXT = """# {name}

Brought as `{file}`; whoever made it has to say here what it is. **Not for clinical use.**

## Data
Not known: name the recordings, the people, and what was kept out of training.

## Licence
Not known.
"""


def bring_bundle(
    source: Path, folder: Path, spec: Path | None, card: Path | None, allow: Collection[str] = ()
) -> tuple[Bundle, tuple[str, ...]]:
    """Write ``folder``; the bundle, and a line for each thing that was done to the file.

    ``spec``: JSON or TOML, None: the one that the file carries; ``card``: Markdown, None: one that
    says that nothing is known.  Raises ExportError, and OSError for a card that cannot be read.
    """
    contract = read_contract(spec) if spec else None
    folder.mkdir(parents=True, exist_ok=True)
    brought = bring(source, folder / MODEL, contract, allow=allow)
    text = CARD_TEXT.format(name=brought.spec.name, file=source.name)
    if card:
        try:
            text = card.read_text(encoding="utf-8")
        except UnicodeDecodeError as e:
            raise ExportError(f"{card} is no UTF-8 text: {e.reason}") from e
    if not text.strip():
        raise ExportError(f"{card} is empty: a {CARD} says what a model is and what it is not")
    return write_bundle(folder, brought.spec, text, {}), brought.notes
