#!/usr/bin/env bash
# What a fresh machine lacks. The Makefile calls this; each step looks first and installs only what is missing.
#
#   tools/setup.sh venv       .venv with a Python of at least 3.11 (and a C compiler and Python's headers beside it)
#   tools/setup.sh chromium   a Chromium for the tests of the demo page
#   tools/setup.sh valgrind   valgrind and its headers, for `make guard`
#
# Debian packages are installed when this runs as root or with sudo; otherwise it says which command is needed.
# PYTHON=/path/to/python chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# apt_install WHY PACKAGE...: fails when it may not install or apt cannot.
apt_install() {
    local why=$1 sudo=()
    shift
    command -v apt-get >/dev/null || { say "no apt-get here; please install $* ($why)"; return 1; }
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
            sudo=(sudo)
        else
            say "not root and no sudo; please run: apt-get install $*   ($why)"
            return 1
        fi
    fi
    say "installing $* with apt: $why"
    local install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@")
    # A fresh machine has no package lists, an old one has stale ones: fetch them once the first attempt has failed.
    "${install[@]}" </dev/null >/dev/null 2>&1 || {
        "${sudo[@]}" apt-get update -qq </dev/null && "${install[@]}" </dev/null >&2
    }
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 /usr/bin/python3}; do
        if new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

make_venv() {
    if [ -x .venv/bin/python ] && new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; then
        return
    fi
    local python version
    if ! python=$(find_python); then
        [ -z "${PYTHON:-}" ] || die "PYTHON=$PYTHON is not a Python of at least 3.11"
        apt_install "Syncline needs Python 3.11 or newer" python3 python3-venv python3-dev || die "no Python"
        python=$(find_python) || die "Python 3.11 or newer is needed (Debian 12 has it); set PYTHON=/path/to/python"
    fi
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        apt_install "to create the virtual environment" "$version-venv" || die "$python has no working venv module"
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
        apt_install "C headers of Python, for the native modules" "$version-dev" || die "$python has no headers"
    command -v "${CC:-cc}" >/dev/null ||
        apt_install "a C compiler, for the native modules" gcc libc6-dev || die "no C compiler"
    say "creating .venv with $python ($("$python" -V))"
    rm -rf .venv
    "$python" -m venv .venv
}

find_chromium() {
    local name
    for name in ${SYNCLINE_CHROMIUM:-} chromium chromium-browser google-chrome google-chrome-stable; do
        command -v "$name" >/dev/null && return
    done
    return 1
}

case "${1:-}" in
    venv) make_venv ;;
    chromium)
        find_chromium || apt_install "the tests drive the demo page in it" chromium ||
            say "no Chromium: the tests of the demo page will be skipped"
        ;;
    valgrind)
        { command -v valgrind && [ -e /usr/include/valgrind/callgrind.h ]; } >/dev/null ||
            apt_install "make guard counts instructions with it" valgrind ||
            say "no valgrind: instructions cannot be counted"
        ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
