"""`python -m mien.codec …` is `mien codec …`."""

from mien.codec.cli import main

if __name__ == "__main__":
    main()
