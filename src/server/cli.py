"""The command line: ``syncline serve`` and what an operator needs around it.

Exit codes: 0 done, 1 it failed (the text on standard error says why), 2 wrong usage or configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .. import __version__
from ..core.errors import SynclineError
from .config import docs as config_docs
from .config.load import ConfigError, load
from .config.schema import Config
from .limits import descriptors
from .observe import log as logs
from .observe import standard
from .process import signals

if TYPE_CHECKING:
    from .seams.store import Store

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

_EXAMPLES: Final = """\
examples:
  syncline serve                                   the demo on http://127.0.0.1:8000/, state in syncline.db
  syncline serve --config syncline.toml --port 80  configured; what the options say wins
  SYNCLINE_LOG__LEVEL=debug syncline serve         every setting is also an environment variable
  syncline print-config > syncline.toml            a configuration file to begin with
  syncline check-config syncline.toml              all errors in it at once
  syncline token create --user ada --name Ada      a token to connect with
  syncline user list                               who is known to the store
  syncline restore backup.db                       a backup in the place of the database
  syncline bench rounds ws://127.0.0.1:8000/       load on a server, every delivery verified

`syncline COMMAND --help` says more on each. SYNCLINE_CONFIG names a default for --config.
"""


class CommandError(Exception):
    """The command failed; the text is for the operator."""


def duration(text: str) -> float:
    """ "90", "90s", "15m", "1h", "7d", "2w" in seconds."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhdw]?)", text.strip())
    if match is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; examples: 90s, 15m, 1h, 7d, 2w")
    return float(match[1]) * _UNITS[match[2]]


# -- commands ----------------------------------------------------------------------------------------------------------


def _load(arguments: argparse.Namespace, overrides: Mapping[str, object] | None = None) -> Config:
    return load(arguments.config, os.environ, overrides)


def _run(work: Callable[[], Any]) -> Any:
    """Runs a coroutine function on uvloop."""
    import uvloop  # here and below: `syncline --help` and check-config need none of it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


def serve(arguments: argparse.Namespace) -> int:
    options = {"server.host": arguments.host, "server.port": arguments.port, "log.level": arguments.log_level}
    overrides = {key: value for key, value in options.items() if value is not None}
    config = _load(arguments, overrides)
    lines = config.log
    logs.configure(lines.level, lines.format, waiting=lines.waiting, repeat_seconds=lines.repeat_seconds)
    from . import app, service
    from .process import sockets

    def read() -> Config:
        return load(arguments.config, os.environ, overrides, again=True)

    async def run() -> Any:
        return await service.Service(config, read, standard.announce).run()

    try:
        if arguments.check:
            app.check(config)
            print("it can start")
            return OK
        descriptors.raise_limit(config.limits.connections, config.server.backlog)
        descriptors.require()
        kept = _run(run)
    except (app.StartError, sockets.ListenError, descriptors.TooFew) as error:
        logs.finish()  # first what was logged on the way
        raise CommandError(str(error)) from error
    if kept is not None:
        logging.shutdown()
        sockets.hand_over(kept, os.environ)
        signals.keep_through_exec()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return OK


def check_config(arguments: argparse.Namespace) -> int:
    _load(arguments)
    print(f"{arguments.config}: ok")
    return OK


def print_config(arguments: argparse.Namespace) -> int:
    print(config_docs.toml(_load(arguments)), end="")
    return OK


def print_config_docs(arguments: argparse.Namespace) -> int:
    print(config_docs.markdown(), end="")
    return OK


def token_create(arguments: argparse.Namespace) -> int:
    from .backends.jwt import JwtAuth

    config = _load(arguments)
    secret = config.auth.secret
    if config.auth.algorithm == "HS256" and not secret:
        # Guest mode: the server made a secret once and keeps it in the store.
        if config.store.backend == "memory":
            raise CommandError("a server with store.backend = memory takes its secret with it; set auth.secret")
        secret = _with_store(config, lambda store: store.setting("auth.secret", lambda: secrets.token_urlsafe(48)))
    try:
        print(JwtAuth(config.auth, secret=secret).issue(arguments.user, arguments.name or "", ttl=arguments.ttl))
    except SynclineError as error:
        raise CommandError(error.message) from error
    except ValueError as error:
        if secret == config.auth.secret:
            raise
        from . import app

        raise CommandError(app.kept_secret(config, error)) from error
    return OK


def user_add(arguments: argparse.Namespace) -> int:
    from .protocol.events import DisplayName, Name
    from .seams.store import UserRecord

    try:
        user = msgspec.convert(arguments.user, Name)
        name = msgspec.convert(arguments.name or "", DisplayName)
    except msgspec.ValidationError as error:
        raise CommandError(f"a user and a name have 1 to 128 printable characters: {error}") from error

    async def add(store: Store) -> bool:
        known = await store.user(user)
        attributes = known.attributes if known is not None else {}
        record = UserRecord(user, name or (known.name if known else ""), False, time.time(), attributes)
        await store.put_user(record)
        return known is None

    print(f"{'added' if _with_store(_load(arguments), add, making=True) else 'updated'} {user}")
    return OK


def user_list(arguments: argparse.Namespace) -> int:
    async def each(store: Store) -> int:
        after, count = "", 0
        while page := await store.users(after, 500):
            for user in page:
                if arguments.json:
                    print(json.dumps(msgspec.to_builtins(user)))
                else:
                    print(f"{user.id}\t{user.name}\t{'guest' if user.guest else 'user'}")
            after, count = page[-1].id, count + len(page)
        return count

    count = _with_store(_load(arguments), each)
    print(f"{count} user{'' if count == 1 else 's'}", file=sys.stderr)
    return OK


def restore(arguments: argparse.Namespace) -> int:
    from .backends import sqlite
    from .seams.outcome import Unavailable

    config = _load(arguments)
    backends = (config.store.backend, config.broker.backend, config.presence.backend, config.events.backend)
    if "sqlite" not in backends:
        raise CommandError("no backend is sqlite: there is nothing to restore")
    told = -1

    def progress(left: int, pages: int) -> None:
        nonlocal told
        done = 100 * (pages - left) // max(pages, 1) // 10 * 10
        if done > told and pages > 10 * 4096:
            told = done
            print(f"{done} %", file=sys.stderr, flush=True)

    path = Path(config.store.path)
    if arguments.backup is None and not path.exists():
        raise CommandError(_nothing_here(config))
    try:
        found = sqlite.restore(path, None if arguments.backup is None else Path(arguments.backup), progress)
    except Unavailable as error:
        raise CommandError(str(error)) from error
    if found.kept is not None:
        print(f"what was there before is now {found.kept}")
    print(f"{path}: new epochs for {found.rooms} rooms and new generations for {found.documents} documents")
    return OK


def _with_store(config: Config, work: Callable[[Store], Any], *, making: bool = False) -> Any:
    """Opens the configured store, works, closes it. Safe beside a running server. ``making``: one that is not there yet, too."""
    from . import app
    from .seams.outcome import Unavailable

    async def run() -> Any:
        store = await app.open_store(config)
        try:
            return await work(store)
        finally:
            await store.close()

    if config.store.backend == "memory":
        raise CommandError("store.backend is memory: there is nothing to open outside of the server")
    if not os.path.exists(config.store.path):
        if not making:
            raise CommandError(_nothing_here(config))
        print(f"{config.store.path}: a new database", file=sys.stderr)
    try:
        return _run(run)
    except (app.StartError, Unavailable) as error:
        raise CommandError(str(error)) from error


def _nothing_here(config: Config) -> str:
    return f"{config.store.path}: there is no database here; go to the server's folder, or name its --config"


def bench(arguments: argparse.Namespace) -> int:
    from ..load import cli as load_cli  # only Linux has what it stands on

    return load_cli.main(arguments.arguments)


# -- arguments ---------------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    def command(parent: Any, name: str, run: Callable[[argparse.Namespace], int], what: str, text: str = "") -> Any:
        made = parent.add_parser(
            name,
            help=what,
            description=what[0].upper() + what[1:] + ".",
            epilog=text or None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run, parser=made)
        return made

    def configured(made: Any) -> Any:
        default = os.environ.get("SYNCLINE_CONFIG") or None
        made.add_argument("-c", "--config", metavar="FILE", default=default, help="TOML file")
        return made

    main = argparse.ArgumentParser(
        prog="syncline",
        description="Syncline: a real-time platform server (rooms, messages, presence, collaborative documents).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    main.add_argument("--version", action="version", version=f"syncline {__version__}")
    commands = main.add_subparsers(title="commands", metavar="COMMAND", required=True)

    made = configured(
        command(
            commands,
            "serve",
            serve,
            "run the server",
            "SIGTERM or SIGINT drains: clients are told to reconnect, accepted work is stored; a second one ends at once.\n"
            "SIGHUP reads the configuration again, SIGUSR1 says how it is, SIGUSR2 starts again with the same sockets.\n"
            "Prints `listening on http://HOST:PORT` when ready.",
        )
    )
    made.add_argument("--host", metavar="ADDRESS", help="address to listen on (server.host)")
    made.add_argument("--port", metavar="PORT", type=int, help="port to listen on, 0: any (server.port)")
    made.add_argument(
        "--log-level",
        metavar="LEVEL",
        choices=("debug", "info", "warning", "error"),
        help="debug, info, warning or error",
    )

    made.add_argument(
        "--check",
        action="store_true",
        help="start nothing: say whether it could, with this configuration, environment and version",
    )

    made = command(commands, "check-config", check_config, "report all errors of a configuration at once")
    made.add_argument("config", metavar="FILE", help="TOML configuration")
    configured(
        command(
            commands,
            "print-config",
            print_config,
            "print the effective configuration as commented TOML",
            "What stands at its default is commented out; secrets are not shown.",
        )
    )
    command(commands, "config-docs", print_config_docs, "print docs/configuration.md")

    token = command(commands, "token", lambda _: USAGE, "make tokens").add_subparsers(metavar="ACTION", required=True)
    made = configured(
        command(
            token,
            "create",
            token_create,
            "print a token that the configured server accepts",
            "example:\n  syncline token create --user ada --name 'Ada Lovelace' --ttl 7d --config syncline.toml",
        )
    )
    made.add_argument("--user", required=True, help="who the token speaks for (sub)")
    made.add_argument("--name", help="display name")
    made.add_argument(
        "--ttl", type=duration, default=3600.0, metavar="TIME", help="life, e.g. 15m, 1h, 7d (default: 1h)"
    )

    user = command(commands, "user", lambda _: USAGE, "manage users").add_subparsers(metavar="ACTION", required=True)
    made = configured(command(user, "add", user_add, "create a user in the store, or change its name"))
    made.add_argument("user", help="id, the `sub` of its tokens")
    made.add_argument("--name", help="display name")
    made = configured(command(user, "list", user_list, "list the users in the store"))
    made.add_argument("--json", action="store_true", help="one JSON object per line")
    made = configured(
        command(
            commands,
            "restore",
            restore,
            "put a backup in the place of the database, while no server runs on it",
            "Clients take everything anew afterwards. What was there before is renamed. Without FILE the database stays and\n"
            "only that is told: for one that a snapshot of the whole machine has brought back.\n"
            "example:\n  syncline restore /backup/syncline-2026-11-27.db --config syncline.toml",
        )
    )
    made.add_argument("backup", metavar="FILE", nargs="?", help="a copy of the database")
    made = command(commands, "bench", bench, "put load on a server and verify every delivery (`syncline bench --help`)")
    made.add_argument("arguments", nargs=argparse.REMAINDER, help="see `syncline bench --help`")
    return main


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code. argparse exits by itself on wrong usage (2) and --help (0)."""
    given = sys.argv[1:] if argv is None else argv
    if given[:1] == ["bench"]:  # it has a parser of its own, for options too
        arguments = argparse.Namespace(run=bench, arguments=given[1:])
    else:
        arguments, unknown = parser().parse_known_args(given)
        if unknown:  # with the usage of the command, not of the program
            arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except ConfigError as error:
        print(f"syncline: {error}", file=sys.stderr)
        return USAGE
    except CommandError as error:
        print(f"syncline: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 128 + 2
    except BrokenPipeError:
        return _without_output()  # its reader went away (`| head`): not worth a word
    except OSError as error:
        if error.filename is not None:
            raise
        print(f"syncline: what it has to say cannot be written: {error.strerror}", file=sys.stderr)
        return _without_output()


def _without_output() -> int:
    # Python would try again at exit, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
