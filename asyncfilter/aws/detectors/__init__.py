"""Rekognition's detectors: a module for each kind, over a base and an overlay that they share."""
