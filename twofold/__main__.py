"""``python -m twofold`` is the command line."""

from twofold.cli import main

if __name__ == "__main__":
    main()
