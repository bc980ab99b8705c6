"""The app: one Gradio page on which a picture, a voice and a feeling become a film. `mien demo` opens it.

`launch(host, port, device)` serves the page, `app.build(device)` makes it; films are made by the front door alone.
"""


def launch(host: str = "127.0.0.1", port: int = 7860, device: str = "auto") -> None:
    """Serve the page until Ctrl-C.

    host, port: where to listen; "0.0.0.0" lets other machines in. device: where networks run: auto, cpu, cuda or mps.
    Raises ValueError for a device that is unknown or not there, OSError if the port cannot be had; one sentence each.
    """
    from mien.demo.app import serve

    serve(host, port, device)


__all__ = ["launch"]
