"""How the commands refuse what they cannot examine."""

import click


class Unusable(click.ClickException):
    """A file or setting that cannot be used: one line and exit code 2, without the words about how to call us."""

    exit_code = 2
