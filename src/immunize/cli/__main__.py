"""`python -m immunize.cli` is `immunize`."""

from immunize.cli import app

if __name__ == "__main__":
    app()
