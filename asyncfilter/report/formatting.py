"""Numbers as text: counts, money, time, shares and small bars.

Money is given in integer micro-dollars. For scripts it becomes a JSON number with its exact decimals; for people it is
rounded, with more decimals for smaller sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

_BLOCKS = "▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉█"


def count(number: int) -> str:
    """``1,234,567``."""
    return f"{number:,}"


def counted(number: int, what: str, ending: str = "s") -> str:
    """``1 image``, ``1,234 images``; ``ending`` makes the word a plural."""
    return f"{count(number)} {what}{'' if number == 1 else ending}"


def usd(micros: int) -> str:
    """``$25.00``, ``$0.312``, ``$0.0025``: more decimals for smaller sums."""
    dollars = micros / 1_000_000
    if micros % 10_000 == 0 or dollars >= 10:
        return f"${dollars:,.2f}"
    if dollars >= 0.1:
        return f"${dollars:.3f}"
    return f"${dollars:.2g}" if micros >= 100 else f"${dollars:.6f}"


def usd_number(micros: int) -> msgspec.Raw:
    """Dollars as a JSON number with exact decimals, at least two of them."""
    sign, (whole, rest) = "-" if micros < 0 else "", divmod(abs(micros), 1_000_000)
    decimals = f"{rest:06d}"
    return msgspec.Raw(f"{sign}{whole}.{decimals[:2]}{decimals[2:].rstrip('0')}".encode())


def duration(seconds: float) -> str:
    """``0.4 s``, ``42 s``, ``3 min 12 s``, ``2 h 05 min``, ``3 d 4 h``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    if not minutes:
        return f"{whole} s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min {whole:02d} s"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes:02d} min"


def clock(seconds: float) -> str:
    """``0:42``, ``12:05``, ``1:02:05``: for figures of the live display."""
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"


def tps(rate: float) -> str:
    """``48.9``, ``500``, ``12,000``: calls a second."""
    return f"{rate:.1f}" if rate < 100 and rate != int(rate) else f"{rate:,.0f}"


def share(part: float, whole: float) -> str:
    """``39.4 %``; 0 % when ``whole`` is 0."""
    return f"{100 * part / whole if whole else 0:.1f} %"


def size(size_bytes: int) -> str:
    """``812 bytes``, ``4.2 MB``."""
    amount, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"


def thresholds(pcts: Mapping[str, float]) -> str:
    """What ``confidence: assumed`` stands for, by label."""
    shown = [f"{label} {pct:.1f} %" for label, pct in sorted(pcts.items())]
    return f"{', '.join(shown)}, from the evaluation of the model"


def sparkline(values: Sequence[float], top: float) -> str:
    """One block for each value, from 0 to ``top``; a value above ``top`` has the highest block."""
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(steps * max(0.0, min(1.0, value / top)))] if top > 0 else " " for value in values)


def bar(part: float, whole: float, width: int) -> str:
    """A bar of ``width`` characters, filled to an eighth of one."""
    filled = max(0.0, min(1.0, part / whole)) * width if whole > 0 else 0.0
    full, eighths = int(filled), int((filled - int(filled)) * 8)
    return ("█" * full + (_PARTS[eighths] if full < width else "")).ljust(width)
