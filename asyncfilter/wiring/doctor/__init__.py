"""``doctor``: looks at everything that a run depends on, and changes nothing."""

from asyncfilter.wiring.doctor.diagnosis import diagnose

__all__ = ["diagnose"]
