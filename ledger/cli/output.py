"""Printing answers: a table for people, one line of JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wider than any row; only a bound.
MAX_WIDTH = 10_000

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def print_fields(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing, with its properties below each other."""
    if as_json:
        click.echo(json.dumps(fields))
        return
    width = max(map(len, fields)) + 1
    for name, value in fields.items():
        # A text of several lines, such as a receipt, stays one that can be copied.
        first, *others = _lines(value)
        click.echo(f"{_title(name):<{width}} {first}")
        for line in others:
            click.echo(f"{'':<{width}} {line}".rstrip())


def print_rows(names: Sequence[str], rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    """Several things of a kind; `empty` is said to people when there are none."""
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo(empty)
        return
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(_title(name), overflow="fold")
    for row in rows:
        # As Text: what an organisation wrote must never be read as rich's markup.
        table.add_row(*(Text(_cell(row[name])) for name in names))
    console = Console()
    if not console.is_terminal:
        # Into a file or another program each row stays one line, whatever rich takes for the width there.
        console.width = MAX_WIDTH
    console.print(table)


def _title(name: str) -> str:
    return name.replace("_", " ")


def _lines(value: Any) -> list[str]:
    if isinstance(value, list):
        return [_cell(item) for item in value] or ["-"]
    return [_cell(line) for line in value.rstrip("\n").split("\n")] if isinstance(value, str) else [_cell(value)]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else json.dumps(value)
    # Control characters of a hostile text could rewrite what a terminal shows.
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
