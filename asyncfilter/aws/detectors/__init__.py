"""Rekognition's detectors: one module per kind, over a shared base and a shared overlay."""
