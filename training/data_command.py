"""``sonomyo data``: list, fetch and verify the public recordings."""

import argparse
import os
import sys

from training.datasets import ENV, DataSet, cache_folder, data_sets, find, intact


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo data``."""
    names = list(data_sets())
    what = p.add_subparsers(dest="what", required=True)
    what.add_parser("list", help="what there is, and what is on this machine")
    get = what.add_parser("get", help="download into the cache")
    get.add_argument("name", nargs="+", choices=names, metavar="NAME")
    get.add_argument("--timeout-s", type=float, default=20.0, help="give up on a silent server")
    verify = what.add_parser("verify", help="compare the files on this machine with the registry")
    verify.add_argument("name", nargs="*", metavar="NAME", help="default: every set")


def main(a: argparse.Namespace) -> int:
    """Exit codes: 0 good, 1 something is missing or damaged, 2 it could not be done."""
    if a.what == "list":
        return _list()
    if a.what == "get":
        return max(_get(data_sets()[name], a.timeout_s) for name in a.name)
    unknown = set(a.name) - set(data_sets())
    if unknown:
        print(f"no data set {sorted(unknown)}; known: {', '.join(data_sets())}", file=sys.stderr)
        return 2
    return max(_verify(one) for name, one in data_sets().items() if not a.name or name in a.name)


def _list() -> int:
    for one in data_sets().values():
        size_mb = sum(f.size for f in one.files) / 1e6
        here = sum(find(one.name, f.path) is not None for f in one.files)
        counts = f"{here} of {len(one.files)} files here, {len(one.downloadable())} downloadable"
        print(f"{one.name:<24}{size_mb:5.1f} MB  {counts}; {one.licence}\n    {one.title}")
    print(f"\n{ENV}={os.environ.get(ENV, '')}\ncache: {cache_folder()}")
    return 0


def _get(one: DataSet, timeout_s: float) -> int:
    from training.fetch import FetchError, fetch

    by_hand = [f.path for f in one.files if not f.how]
    if one.downloadable():
        try:
            for file in fetch(one, timeout_s=timeout_s):
                print(f"{one.name}/{file.path}", flush=True)
        except (FetchError, OSError) as e:
            print(f"sonomyo data: {e}\nRun the command again to go on.", file=sys.stderr)
            return 1
        print(f"{cache_folder() / one.name}: {one.licence}, {one.attribution}")
    if by_hand:
        shown = ", ".join(by_hand[:6]) + (f" and {len(by_hand) - 6} more" if by_hand[6:] else "")
        print(
            f"{one.name}: {shown}: converted by hand, not downloadable by this tool. "
            f"Source: {one.source}. To use a copy, set {ENV} to the folder that has {one.name}/."
        )
    return 0 if one.downloadable() else 1


def _verify(one: DataSet) -> int:
    """Read every file that is on this machine."""
    bad, absent, good = [], [], 0
    for file in one.files:
        path = find(one.name, file.path)
        if path is None:
            absent.append(file)
        elif intact(path, file):
            good += 1
        else:
            bad.append(path)
    fetchable = sum(1 for f in absent if f.how)
    print(f"{one.name}: {good} good, {len(bad)} damaged, {len(absent)} not here")
    for path in bad:
        print(f"  damaged: {path}")
    if fetchable:
        print(f"  run: sonomyo data get {one.name}")
    return 1 if bad or fetchable or not good else 0
