"""eximcertctl: one file per verb, loaded when the verb is called."""

from __future__ import annotations


def main() -> None:
    """Run the program."""
    import sys  # noqa: PLC0415 - each verb imports this package

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a terminal without UTF-8
    if "scan" in sys.argv:
        from eximcertd.cli.scanrun import asked, run_quickly  # noqa: PLC0415 - a scan starts without click

        what = asked(sys.argv[1:])
        if what is not None:
            run_quickly(what)
    from eximcertd.cli.app import program  # noqa: PLC0415 - the same

    program(prog_name="eximcertctl")
