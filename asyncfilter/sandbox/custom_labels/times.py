"""How long the service takes, in seconds at AWS; the sandbox divides all of them by its speed.

The Custom Labels guide says "30 minutes to 24 hours" of training and "a while" of everything else: the other values are
what its users report.
"""

from __future__ import annotations

from typing import Final

PROJECT_S: Final = 2.0
DATASET_S: Final = 30.0
TRAINING_S: Final = 30 * 60.0
START_S: Final = 8 * 60.0
STOP_S: Final = 2 * 60.0
COPY_S: Final = 5 * 60.0
DELETION_S: Final = 5.0
