"""`indelible evidence worker`, except that it looks all the time for what is to be disposed of."""

import sys

from ledger.cli import main
from media import worker

worker.DISPOSAL_SECONDS = 1.0

if __name__ == "__main__":
    sys.argv[1:] = ["evidence", "worker"]
    main()
