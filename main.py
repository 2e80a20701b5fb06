"""Train a score model, measure it, draw from it: python main.py --help. The same as the command `scorejax`."""

import sys

try:
    from scorejax.__main__ import main
except KeyboardInterrupt:  # importing takes some seconds
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], "main.py"))
