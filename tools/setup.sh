#!/usr/bin/env bash
# What a fresh machine lacks. The Makefile calls this.
#
#   tools/setup.sh system NEED...   looks for all that is needed of the system before anything is installed:
#                                     python     Python 3.11 or newer that can make virtual environments
#                                     build      a C compiler that works, and the C headers of that Python
#                                     chromium   a browser for the tests of the demo page (they are skipped without)
#                                     git        git, for two tests (they are skipped without)
#                                     proxies    haproxy and nginx, for the tests behind them (they are skipped without)
#                                     promtool   Prometheus' promtool, for the tests of alerting rules (they are skipped without)
#                                     systemd    systemd-analyze, for the test of the units (skipped without)
#                                     valgrind   valgrind and its headers, for `make guard` (which cannot count without)
#   tools/setup.sh works            whether there is a .venv that can be used
#   tools/setup.sh venv             makes .venv
#
# As root or with sudo it installs the Debian packages that are missing, and no service is started by that. Otherwise
# one message names them all, with the command. PYTHON=/path/to/python chooses the interpreter of a new .venv, CC the
# compiler, SYNCLINE_CHROMIUM=/path/to/chromium the browser; SYNCLINE_CHROMIUM=none does without one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { if [ -t 2 ]; then printf '\033[1m==>\033[0m %s\n' "$*" >&2; else printf '==> %s\n' "$*" >&2; fi; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# -- what is missing --------------------------------------------------------------------------------------------------

required=() optional=() packages=()

# lack required|optional "PACKAGE..." SENTENCE
lack() {
    if [ "$1" = required ]; then required+=("$3"); else optional+=("$3"); fi
    local package
    for package in $2; do
        case " ${packages[*]-} " in *" $package "*) ;; *) packages+=("$package") ;; esac
    done
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Prints the interpreter of a new .venv.
find_python() {
    local candidate candidates=(python3 python3.13 python3.12 python3.11 /usr/bin/python3)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

venv_works() { .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

need_python() {
    local python version
    if venv_works; then return; fi
    if ! python=$(find_python); then
        [ -z "${PYTHON:-}" ] || die "PYTHON=$PYTHON is not a Python of at least 3.11"
        lack required "python3 python3-venv" "Python 3.11 or newer (Debian 12 has it), with its venv module"
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2] if sys.base_prefix == "/usr" else "")')
        lack required "$version" "the modules venv and ensurepip of $python, for the virtual environment"
    fi
}

need_build() {
    local python sentence names
    [ ! -e .venv/.stamps/native ] || return 0 # what is built stays; setup.py asks again before it compiles
    if venv_works; then python=.venv/bin/python; else python=$(find_python) || python=; fi
    if [ -n "$python" ]; then
        while IFS=$'\t' read -r sentence names; do
            lack required "$names" "$sentence"
        done < <("$python" tools/toolchain.py)
    else
        lack required python3-dev "Python's C headers, for the native modules"
        command -v "${CC:-gcc}" >/dev/null || lack required "gcc libc6-dev" "a C compiler, for the native modules"
    fi
}

need_chromium() {
    local name
    [ "${SYNCLINE_CHROMIUM:-}" != none ] || return 0
    if [ -n "${SYNCLINE_CHROMIUM:-}" ]; then
        command -v "$SYNCLINE_CHROMIUM" >/dev/null || die "SYNCLINE_CHROMIUM=$SYNCLINE_CHROMIUM: there is no such program (none: do without)"
        return
    fi
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        if command -v "$name" >/dev/null; then return; fi
    done
    lack optional chromium "Chromium, in which the demo page is tested (SYNCLINE_CHROMIUM=none: do without those tests)"
}

need_git() {
    command -v git >/dev/null || lack optional git "git, with which two tests of the project's list of files make a folder that it refuses"
}

need_proxies() {
    local name
    for name in haproxy nginx; do
        command -v "$name" >/dev/null || [ -x "/usr/sbin/$name" ] \
            || lack optional "$name" "$name, behind which the server is tested as behind a proxy"
    done
}

need_promtool() {
    command -v promtool >/dev/null || lack optional prometheus "promtool, with which the alerting rules are tested"
}

need_systemd() {
    command -v systemd-analyze >/dev/null || lack optional systemd "systemd-analyze, with which the units in examples/systemd are checked"
}

need_valgrind() {
    if command -v valgrind >/dev/null && [ -e /usr/include/valgrind/callgrind.h ]; then return; fi
    lack optional valgrind "valgrind, with which instructions are counted"
}

look() {
    local need
    required=() optional=() packages=()
    for need in "$@"; do
        case $need in
            python | build | chromium | git | promtool | proxies | systemd | valgrind) "need_$need" ;;
            *) die "no such need: $need" ;;
        esac
    done
}

# -- installing it ----------------------------------------------------------------------------------------------------

APT=(env LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get --no-install-recommends)

# plan PACKAGE...: how much apt would fetch and install; fails when a package is unknown, as without package lists.
plan() {
    local text
    text=$("${APT[@]}" -o Debug::NoLocking=1 --assume-no install "$@" 2>/dev/null </dev/null) || true
    sed -nE 's/^.* ([0-9]+) newly installed.*/\1 packages/p; s/^Need to get (.*\/)?(.*) of archives.*/\2 to fetch/p
        s/^After this operation, (.*) of additional disk.*/\1 on disk/p' <<<"$text" | paste -sd, | sed 's/,/, /g' | grep .
}

# Reads apt's output: shows how far it is, and what went wrong.
progress() {
    local total=$1 fetched=0 installed=0 line step
    step=$((total < 40 ? 20 : total / 5))
    while IFS= read -r line; do
        case $line in
            Get:*) fetched=$((fetched + 1)); ((fetched % step)) || echo "    fetched $fetched of $total packages" ;;
            "Setting up "*) installed=$((installed + 1)); ((installed % step)) || echo "    installed $installed of $total" ;;
            E:* | W:* | Err:* | dpkg:*) echo "    $line" ;;
        esac
    done >&2
}

# install_packages PACKAGE...: with the rights that there are.
install_packages() {
    local sudo=() size path
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    size=$(plan "$@") || {
        say "fetching Debian's package lists"
        "${sudo[@]}" "${APT[@]}" -qq update </dev/null >&2 || return 1
        size=$(plan "$@") || { say "apt knows no package by one of these names: $*"; return 1; }
    }
    eval "$(apt-config shell path DPkg::Path)"
    path=$PWD/tools/no-services:${path:-/usr/sbin:/usr/bin:/sbin:/bin}
    # A file system without execution, or one that root may not read: then services would start.
    # shellcheck disable=SC2016
    [ "$("${sudo[@]}" env PATH="$path" sh -c 'command -v invoke-rc.d')" = "$PWD/tools/no-services/invoke-rc.d" ] || {
        say "root cannot run $PWD/tools/no-services/invoke-rc.d, without which a package might start a service"
        return 1
    }
    say "installing Debian packages: $* ($size)"
    "${sudo[@]}" "${APT[@]}" -y -q -o DPkg::Use-Pty=0 -o "DPkg::Path=$path" install "$@" </dev/null 2>&1 |
        progress "${size%% *}" || return 1
}

may_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }
}

list_missing() { printf '  - %s\n' ${required[@]+"${required[@]}"} ${optional[@]+"${optional[@]}"}; }

# The command that brings what is missing.
tell_remedy() {
    local size
    if [ ${#packages[@]} -gt 0 ] && command -v apt-get >/dev/null; then
        size=$(plan "${packages[@]}") || size="after apt-get update"
        printf 'As root (%s):\n  apt-get install --no-install-recommends %s\n' "$size" "${packages[*]}"
    elif [ ${#packages[@]} -gt 0 ]; then
        printf 'There is no apt-get here. On Debian these would be: %s\n' "${packages[*]}"
    fi
}

system() {
    look "$@"
    if [ ${#packages[@]} -gt 0 ] && may_install; then
        say "this machine lacks:"
        list_missing >&2
        install_packages "${packages[@]}" || say "the installation failed"
        look "$@"
    fi
    if [ ${#required[@]} -gt 0 ]; then
        { printf 'error: this machine lacks:\n'; list_missing; tell_remedy; } >&2
        exit 1
    elif [ ${#optional[@]} -gt 0 ]; then
        { say "going on without:"; list_missing; tell_remedy; } >&2
    fi
}

make_venv() {
    local python
    if venv_works; then return; fi
    python=$(find_python) || die "no Python 3.11 or newer"
    say "creating .venv with $python ($("$python" -V))"
    rm -rf .venv
    "$python" -m venv .venv
}

case "${1:-}" in
    system) shift; system "$@" ;;
    works) venv_works ;;
    venv) make_venv ;;
    *) sed -n '2,17s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
