"""Arithmetic of the engine: no I/O, no tasks, no clocks. Everything here can be tested by calling it."""
