"""`python -m absint`: the command line."""

from absint.cli.main import run

if __name__ == "__main__":
    run()
