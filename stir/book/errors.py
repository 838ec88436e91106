"""Ends of a command: errors in one message without a traceback, and signals that end all that it started."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click


@contextmanager
def orderly_end() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception, so that notebooks and their workers end with the command."""
    ends = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handled = [each for each in ends if signal.getsignal(each) is signal.SIG_DFL]  # nohup ignores one
    if threading.current_thread() is not threading.main_thread():
        handled = []
    for each in handled:
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)


@contextmanager
def resumable(again: str) -> Iterator[None]:
    """Say at the first Ctrl-C within the `with` block that the run is being stopped, since this may take a while.

    Args:
        again: what the same command then does, such as "goes on from what is kept".
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        click.echo(f"\nStopping ... The same command {again}.", err=True)
        signal.default_int_handler(number, frame)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def one_message() -> Iterator[None]:
    """Turn errors that the user can mend into a message without a traceback."""
    try:
        yield
    except MemoryError as error:
        raise click.ClickException(str(error) or "memory does not suffice") from error
    except (ValueError, RuntimeError, OSError, ArithmeticError) as error:
        from stir.computing.memory import is_out_of_memory  # here, as it loads PyTorch

        # PyTorch appends where in its own code an allocation failed.
        message = str(error).partition("\n")[0] if is_out_of_memory(error) else str(error)
        raise click.ClickException(message or type(error).__name__) from error


@contextmanager
def book_packages() -> Iterator[None]:
    """Turn a failing import of the packages that only the book needs into a message with the remedy."""
    try:
        yield
    except ImportError as error:
        raise click.ClickException(
            f"this command needs the packages of the book ({error}); in your clone: pip install '.[book]'"
        ) from error
