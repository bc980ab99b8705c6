"""`python -m mien.demo`: what `mien demo` does, with the same options."""

from typing import Annotated

import typer

from mien.demo import launch


def main(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.")] = 7860,
    device: Annotated[str, typer.Option(help="Where networks run: auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Open the app in a browser: picture, voice and feeling to film."""
    try:
        launch(host, port, device)
    except (ValueError, OSError) as error:
        typer.echo(f"mien: {error}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
