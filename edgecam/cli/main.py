"""The command line: parse, open, run."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from edgecam.cli import process_list
from edgecam.cli.completion import a_file, one_of
from edgecam.cli.headings import write_options
from edgecam.cli.options import FLAG_NAMES, given, run_options
from edgecam.core.errors import EdgecamError, SettingsError
from edgecam.core.printable import MAX_LINE, print_traceback, printable
from edgecam.core.redaction import redact
from edgecam.core.version import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from edgecam.settings.house import House

# Name on the command line -> one line of help; the code is in edgecam/cli/commands/NAME.py.
COMMANDS: dict[str, str] = {
    "bench": "Measure a model here against the bare interpreter.",
    "convert": "Make a .tflite of a published model.",
    "decode": "Decode saved network outputs to poses.",
    "demo": "Bundled clip, bundled model, embedded broker, live table.",
    "discovery": "Show what goes to Home Assistant, or remove it there.",
    "doctor": "Say what works on this board, what does not, and what to do.",
    "eval": "Score models on annotated pictures, side by side.",
    "frames": "Publish a camera's pictures for an edgecam elsewhere to look at.",
    "help": "Show a page of the documentation.",
    "init": "Write a commented settings file for a camera.",
    "inspect": "Show what is inside a model.",
    "models": "List, show, check and download models.",
    "quantize": "Make a float model smaller and faster, and compare the two.",
    "replay": "Run a recorded clip; write or check golden results.",
    "service": "Install or remove a camera as a systemd service.",
    "status": "Show the state of the running instances.",
    "scan": "Find the page in a picture or before a camera and write it flat.",
    "schema": "Print the JSON schema of the messages or of a settings file.",
    "teach": "Teach a network new classes, from folders or a camera.",
    "top": "Watch every camera on a broker, in the terminal.",
    "tune": "Find the fastest settings for this board that still see enough.",
    "train": "Train a network of edgecam's own.",
}

# sysexits.h: what RestartPreventExitStatus= of the unit names.
EX_CONFIG = 78
# What people type to run it, which takes no command.
_RUNS = frozenset({"run", "start", "detect", "watch", "serve", "camera"})
_RUN = "edgecam --source 0 --web shows the camera in a browser (edgecam --help)"

# How long a thread that comes back from an invoke waits for one that runs Python: the default is
# 5 ms, more than many an invoke takes; half a millisecond still cost a small model some percent.
SWITCH_S = 0.0001


_ROOM = "make room where the output goes"
_OUTPUT_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EIO: "see whether what the output goes to is still there",
    errno.EBADF: "where it is closed, send it to a file or to /dev/null",
}


@contextlib.contextmanager
def _secrets_kept() -> Iterator[None]:
    """Click's errors repeat the words that they are about, which may be a URL."""
    try:
        yield
    except click.ClickException as error:
        vars(error)["message"] = printable(redact(error.message), MAX_LINE)
        raise


class LazyGroup(click.Group):
    """Imports a command when it is called, and turns faults into one line and exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands without importing any."""
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None where there is none of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edgecam.cli.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say what works in place of a word that is none."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            if name in _RUNS:
                raise click.UsageError(f"{name!r} is not needed: {_RUN}", ctx)
            if name in ("version", "info"):
                raise click.UsageError(f"{name!r}: the version is edgecam --version", ctx)
            close = difflib.get_close_matches(name, COMMANDS, n=1)
            meant = f" Did you mean {close[0]!r}?" if close else f" To run it: {_RUN}"
            raise click.UsageError(f"No such command {name!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands by the table: to import each for its help would take a second."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=text)
            for name, text in sorted(COMMANDS.items())
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings, then the commands."""
        write_options(self, ctx, formatter, own_first=False)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands and their one-line help without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Of the command's own arguments as well: no path, address or number holds a NUL byte."""
        strange = next((text for text in args if "\0" in text), None)
        if strange is not None:
            raise click.UsageError(f"expected text, found a NUL byte in {strange!r:.80}", ctx)
        with _secrets_kept():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a fault that people can fix ends it with one line."""
        try:
            with _secrets_kept():
                return super().invoke(ctx)
        except EdgecamError as error:
            fault = error
        except PermissionError as error:
            # Where a folder may not be entered, to ask whether something is in it fails already.
            if error.filename is None:
                raise
            fault = EdgecamError(
                f"{error.filename}: this user may not look there; give it leave to, or name "
                "another place"
            )
        except MemoryError:
            fault = _out_of_memory("out of memory")
        except RuntimeError as error:
            if str(error) != "can't start new thread":
                raise
            fault = _out_of_memory("no thread can be started")
        from edgecam.cli.log import fault_line

        click.echo(fault_line(fault.line()), err=True)
        # A service whose settings are refused would be started again in vain.
        in_vain = isinstance(fault, SettingsError) and "NOTIFY_SOCKET" in os.environ
        return ctx.exit(EX_CONFIG if in_vain else 1)


def _out_of_memory(what: str) -> EdgecamError:
    from edgecam.core.native_loading import address_space_bytes, too_little

    if address_space_bytes() is not None:
        return too_little(what)
    return EdgecamError(
        f"{what}: expected enough memory and processes, found a limit of this machine or of the "
        "service; raise it (ulimit -a, MemoryMax=, TasksMax=), or take a smaller model or picture"
    )


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@run_options
@click.option(
    "-s",
    "--source",
    metavar="SOURCE",
    shell_complete=one_of("picamera", or_file=True),
    help="Camera index, picamera, rtsp://, http://, mqtt://, file, folder.",
)
@click.option("--realtime", is_flag=True, help="Play a file at its own rate, as if live.")
@click.option("--loop", is_flag=True, help="Begin a file again at its end, without end.")
@click.option("--wait-for-source", is_flag=True, help="Start without the camera, wait for it.")
@click.option("-n", "--name", metavar="NAME", help="Camera name in topics.  [default: camera]")
@click.option("--title", metavar="WORDS", help="What people call the camera, such as 'Front door'.")
@click.option("-b", "--broker", metavar="URL", help="HOST, mqtt://HOST:1883 or mqtts://HOST:8883.")
@click.option("--username", metavar="NAME", help="User at the broker.")
@click.option(
    "--password-file",
    metavar="FILE",
    shell_complete=a_file,
    help="File with the broker's password.",
)
@click.option("--show", is_flag=True, help="Open a window with skeletons and boxes.")
@click.option(
    "--web",
    metavar="[HOST:PORT]",
    is_flag=False,
    flag_value="127.0.0.1:8080",
    help="Serve a live page for browsers; alone: 127.0.0.1:8080.",
)
@click.option(
    "--jsonl",
    metavar="FILE",
    shell_complete=a_file,
    help="Write one JSON line per frame to this file; - is stdout.",
)
@click.option("--check", is_flag=True, help="Check the settings and models, and run nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
@click.version_option(__version__, prog_name="edgecam")
@click.pass_context
def cli(
    ctx: click.Context, /, config: tuple[Path, ...], check: bool, verbose: bool, **_: Any
) -> None:
    """Camera pose and detection on small boards: frames in, poses and boxes out over MQTT.

    \b
    edgecam --model posenet --show                      the camera in a window
    edgecam --model posenet --source clip.mp4 --jsonl - one JSON line per frame
    edgecam --config /etc/edgecam/front.toml            as a service
    edgecam demo                                        see it work, offline
    """
    if ctx.invoked_subcommand is not None:
        return
    from edgecam.settings.load import ENVIRONMENT_PREFIX, load_house

    is_asked = given(ctx) or any(name.startswith(ENVIRONMENT_PREFIX) for name in os.environ)
    if not config and not is_asked:
        click.echo(ctx.get_help())
        ctx.exit(2)
    from edgecam.cli import log

    def read() -> House:
        house = load_house(config, os.environ, given(ctx), FLAG_NAMES)
        if not any("zones" in camera.web.controls for camera in house.cameras):
            return house
        from edgecam.settings.saved_places import with_saved_places

        return with_saved_places(house, os.environ)

    house = read()
    log.set_up(verbose)
    if check:
        from edgecam.daemon.build import check_settings

        for camera in house.cameras:
            check_settings(camera)
        return
    from edgecam.daemon.run import run
    from edgecam.daemon.service import Service
    from edgecam.daemon.stopping import Stop
    from edgecam.daemon.systemd_notify import Notifier
    from edgecam.daemon.tally import NO_OUTPUT, Tally, has_output

    if not any(map(has_output, house.cameras)):
        logging.getLogger(__name__).warning(NO_OUTPUT)
    stop, tally = Stop(), Tally()
    watchdog_s = house.shared.watchdog_s
    service = Service(stop, read, Notifier(), watchdog_s, has_file=bool(config))
    with service.signals():
        run(house, stop, extra_sinks=(tally,), service=service, tally=tally)
    if not config and sys.stderr.isatty():
        # A try-out; a service with a file goes on tomorrow.
        from edgecam.homeassistant.removal import offer

        words = offer(house.shared)
        if words is not None:
            logging.getLogger(__name__).info(words)


def main() -> None:
    """Run the command line; exits 0, 1 for a fault, 2 for wrong usage, 78 for refused settings."""
    sys.setswitchinterval(SWITCH_S)
    sys.excepthook = print_traceback
    threading.excepthook = lambda found: print_traceback(
        found.exc_type, found.exc_value, found.exc_traceback
    )
    process_list.hide_urls()
    code: str | int | None = 0
    try:
        try:
            cli.main(prog_name="edgecam")
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
    except OSError as error:
        # Click itself sees to a reader that has gone.
        if error.filename is not None or error.errno not in _OUTPUT_REMEDIES:
            raise
        _refuse_output(error)
    _leave(code)


def _refuse_output(error: OSError) -> NoReturn:
    from edgecam.daemon.stopping import leave

    remedy = _OUTPUT_REMEDIES[error.errno or 0]
    sys.stderr.write(f"edgecam: error: standard output: {error.strerror}; {remedy}\n")
    # Python would try to write the rest once more, and say that it cannot.
    leave(1)


def _leave(code: str | int | None) -> NoReturn:
    """Exit at once where a thread is left behind, stuck in native code.

    Such a call that returns while Python shuts down aborts the process.
    """
    if threading.active_count() > 1:
        from edgecam.daemon.stopping import leave

        leave(code if isinstance(code, int) else int(code is not None))
    sys.exit(code)


if __name__ == "__main__":
    main()
