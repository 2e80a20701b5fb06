"""Train a score model, measure it, draw from it: python main.py --help. The same as the command `scorejax`."""

import sys

from scorejax.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], "main.py"))
