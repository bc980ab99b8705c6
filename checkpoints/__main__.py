"""`python -m mien.checkpoints FILE [--licence …] [--figures …]` brings the index up to date for one file of weights."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mien.checkpoints import register


def main(
    file: Annotated[Path, typer.Argument(help="a safetensors file beside an index.json")],
    name: Annotated[str | None, typer.Option(help="name to load it by; the file's stem if not given")] = None,
    licence: Annotated[str | None, typer.Option(help="terms of use; as before if not given")] = None,
    card: Annotated[str | None, typer.Option(help="Markdown file in the same folder; <stem>.md if not given")] = None,
    figures: Annotated[str | None, typer.Option(help="a JSON object of measurements; as before if not given")] = None,
) -> None:
    """Write size, sha256, licence, card and figures of FILE into the index.json beside it."""
    try:
        entry = register(file, name, licence, card, json.loads(figures) if figures else None)
    except (ValueError, FileNotFoundError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{entry.name}: {entry.bytes:,} bytes, sha256 {entry.sha256[:12]}…, {entry.licence}")


if __name__ == "__main__":
    typer.run(main)
