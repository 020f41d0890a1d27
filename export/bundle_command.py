"""``sonomyo bundle``: pack, unpack, verify and sign bundles, and make keys to sign with."""

import argparse
import getpass
import math
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.bundle import CARD, REFERENCE, SUFFIX, Bundle, BundleError, load_bundle
from edge.bundle_index import INDEX, PLAIN, SIGNATURE, Network
from edge.reference import Off, compare_with, read_reference
from edge.runtime import EngineError
from edge.runtime.ort import OrtEngine
from edge.signature import check_signature, signer
from export.bundle import pack, unpack
from export.signing import KeyFileError, make_key, sign

GOOD, PROBLEMS, REFUSED = 0, 1, 2
CARD_SAYS = ("## Data", "## Licence", "Not for clinical use")
SLACK = 1.25  # on the worst error that was measured when a network was made
ROUNDING = 1e-3  # of the largest magnitude: float32 on another processor


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo bundle``."""
    parts = p.add_subparsers(dest="part", required=True, metavar="pack|unpack|verify|sign|keygen")

    def part(
        name: str, text: str, does: Callable[[argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        q = parts.add_parser(name, help=text, description=text)
        q.set_defaults(does=does)
        if name != "keygen":
            q.add_argument("bundle", help="a folder, a .sonomyo file, or a shipped name")
        return q

    q = part("pack", f"make one {SUFFIX} file of it", _pack)
    q.add_argument("--out", type=Path, help="default: its name, here")
    q = part("unpack", "make a folder of it", _unpack)
    q.add_argument("--out", type=Path, help="default: its name, here")
    q = part("verify", "check hashes, weights and signature, and run it on its reference", _verify)
    whom = "who must have signed it: a PEM file or ed25519:BASE64; repeatable"
    q.add_argument("--trust", action="append", default=[], metavar="KEY", help=whom)
    q = part("sign", "sign it where it lies, in place of an older signature", _sign)
    q.add_argument("--key", type=Path, required=True, help="private key, a PEM file")
    q = part("keygen", "make a pair of keys: NAME.pem to sign with, NAME.pub.pem to trust", _keygen)
    q.add_argument("name", type=Path, help="where, without .pem")


def main(a: argparse.Namespace) -> int:
    """Exit code 0: done, or good; 1: it is not what it was when it was made; 2: refused."""
    try:
        return int(a.does(a))
    except (BundleError, EngineError, KeyFileError) as e:
        print(f"sonomyo bundle {a.part}: {e}", file=sys.stderr)
    except OSError as e:
        print(f"sonomyo bundle {a.part}: {e.filename}: {e.strerror}", file=sys.stderr)
    return REFUSED


def _pack(a: argparse.Namespace) -> int:
    bundle = load_bundle(a.bundle)
    out = a.out or Path(bundle.path.name.removesuffix(SUFFIX) + SUFFIX)
    if out.exists():
        raise BundleError(f"{out} exists: choose another --out")
    pack(bundle, out)
    print(f"{out.resolve()}: {bundle.id}, {out.stat().st_size / 1e6:.2f} MB, {bundle.signature}")
    return GOOD


def _unpack(a: argparse.Namespace) -> int:
    bundle = load_bundle(a.bundle)
    out = a.out or Path(bundle.path.name.removesuffix(SUFFIX))
    unpack(bundle, out)
    print(f"{out.resolve()}: {bundle.id}, {bundle.signature}")
    return GOOD


def _sign(a: argparse.Namespace) -> int:
    bundle = sign(load_bundle(a.bundle), a.key, getpass.getpass)
    print(f"{bundle.path}: {bundle.id}, {bundle.signature}")
    return GOOD


def _keygen(a: argparse.Namespace) -> int:
    private, public = (a.name.with_name(f"{a.name.name}{end}") for end in (".pem", ".pub.pem"))
    text = make_key(private, public)
    print(f"{private}: sign with this one; keep it off the devices\n{public}: give this one away")
    print(f'\n[trust]\nkeys = ["{text}"]')
    return GOOD


def _verify(a: argparse.Namespace) -> int:
    console = Console(highlight=False)
    bundle = load_bundle(a.bundle, a.trust)
    console.print(f"{escape(bundle.id)}: {len(bundle.files)} files, every hash fits")
    console.print(f"signature: {escape(_claim(bundle) if not a.trust else bundle.signature)}")
    card = bundle.files.get(CARD, b"").decode(errors="replace")
    problems = [f"{CARD} does not say {words!r}" for words in CARD_SAYS if words not in card]
    table = Table("network", "for", "output", "RMS off", "worst", "allowed")
    for network in bundle.networks:
        problems += _run(bundle, network, table)
    console.print(table)
    for problem in problems:
        console.print(f"[red]{escape(problem)}")
    return PROBLEMS if problems else GOOD


def _claim(bundle: Bundle) -> str:
    """Whose key it is signed with, by its own words.  Raises BundleError: not even that."""
    if SIGNATURE not in bundle.files:
        return bundle.signature
    line = bundle.files[SIGNATURE]
    try:
        key = check_signature(line, bundle.files[INDEX], [signer(line)])
    except ValueError as e:
        raise BundleError(f"{bundle.path}: {e}") from e
    return f"by {key}; whether that is somebody to trust is not known here: --trust"


def _run(bundle: Bundle, network: Network, table: Table) -> list[str]:
    """Rows of what a network makes of the reference; what is wrong with that."""
    place = ", ".join(network.targets) or "any"
    if network.targets and "cpu" not in network.targets:
        table.add_row(network.file, place, "not run here", "", "", "")
        return []
    with closing(OrtEngine(bundle, network)) as engine:
        if REFERENCE not in bundle.files:
            table.add_row(network.file, place, "no reference", "", "", "")
            return []
        try:
            found = compare_with(read_reference(bundle.files[REFERENCE]), bundle.spec, engine)
        except ValueError as e:
            raise BundleError(f"{bundle.id}: {e}: export the model again") from e
    problems = []
    for name, off in found.items():
        allowed = _allowed(network, name, off)
        table.add_row(
            network.file, place, name, *(f"{x:.3g}" for x in (off.rms, off.worst, allowed))
        )
        if not off.worst <= allowed:  # NaN is not
            problems.append(f"{network.file}: {name} is off by {off.worst:.3g}: do not use it here")
    return problems


def _allowed(network: Network, name: str, off: Off) -> float:
    """Rounding of float32, and for fewer bits what was measured when the network was made."""
    rounding = ROUNDING * max(1.0, off.largest)
    if network == PLAIN:
        return rounding
    return rounding + SLACK * network.errors[name].worst if name in network.errors else math.inf
