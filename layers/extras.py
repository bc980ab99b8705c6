"""What to do when a package is missing that only an extra brings."""


def install(extra: str) -> str:
    """The command that brings an extra: mien is installed from its checkout, and so are they."""
    return f"pip install '.[{extra}]' in mien's checkout"
