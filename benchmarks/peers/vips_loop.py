"""The fast way to convert pictures: pyvips, which streams them and uses several threads; not a dependency of ours.

python benchmarks/peers/vips_loop.py FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path


def main() -> None:
    """Convert all pictures of one folder to JPEG, and print how long it took."""
    vips = import_module("pyvips")
    began_s = time.perf_counter()
    for path in sorted(Path(sys.argv[1]).iterdir()):
        vips.Image.new_from_file(str(path), access="sequential").colourspace("srgb").jpegsave_buffer(Q=92)
    print(json.dumps({"took_s": time.perf_counter() - began_s}))


if __name__ == "__main__":
    main()
