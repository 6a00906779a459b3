"""Command lines, run in this process."""


def said(capsys, call, *args):
    """Run a command; return its exit status, stdout and stderr."""
    try:
        status = call(*args)
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


def refused(capsys, main, argv):
    """Return the one line that refuses a command line: exit status 2, and nothing on stdout."""
    status, out, err = said(capsys, main, argv)
    assert (status, out, err.count("\n")) == (2, "", 1)
    return err
