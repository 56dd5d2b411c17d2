"""`python -m stoker`."""

from __future__ import annotations

from stoker.cli.main import program

if __name__ == "__main__":
    program()
