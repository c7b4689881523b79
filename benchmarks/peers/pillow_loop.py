"""The usual way to convert pictures: Pillow in a loop, one file after the other.

python benchmarks/peers/pillow_loop.py FOLDER
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

from PIL import Image


def main() -> None:
    """Convert all pictures of one folder to JPEG, and print how long it took."""
    began_s = time.perf_counter()
    for path in sorted(Path(sys.argv[1]).iterdir()):
        with Image.open(path) as picture:
            picture.convert("RGB").save(io.BytesIO(), "JPEG", quality=92)
    print(json.dumps({"took_s": time.perf_counter() - began_s}))


if __name__ == "__main__":
    main()
