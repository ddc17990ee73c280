"""eximcertctl: one file per verb, loaded when it is asked for."""

from __future__ import annotations


def main() -> None:
    """Run the program."""
    import sys  # noqa: PLC0415 - this module is imported for its name alone by every verb's

    from eximcertd.ctl.app import program  # noqa: PLC0415 - the same

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a terminal that knows less than UTF-8
    program(prog_name="eximcertctl")
