"""eximcertctl: one file per verb, loaded when the verb is called."""

from __future__ import annotations


def main() -> None:
    """Run the program."""
    import os  # noqa: PLC0415 - each verb imports this package
    import sys  # noqa: PLC0415 - each verb imports this package

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a terminal without UTF-8
    from eximcertd.cli.quick import asked, run  # noqa: PLC0415 - each verb imports this package

    if "_EXIMCERTCTL_COMPLETE" in os.environ:
        from eximcertd.cli.completion import answer  # noqa: PLC0415 - the same

        if answer(os.environ):
            return
    call = asked(sys.argv[1:])
    if call is not None:
        run(call)
    from eximcertd.cli.app import program  # noqa: PLC0415 - the same

    program(prog_name="eximcertctl")
