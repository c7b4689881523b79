"""Manifests of Amazon Rekognition Custom Labels: lines are read as bytes, checked, and written.

A manifest is JSON Lines in the form of SageMaker Ground Truth: one image a line, with its labels or boxes.

- ``physical_lines``, ``json_object``, ``source_ref``: a file as lines, a line as JSON, an address as bucket and key.
- ``model``, ``pixels``: labels and boxes of one image, and boxes in whole pixels.
- ``line_form``, ``writing``: the lines that this program writes, and the rules that all writers share.
- ``codes``, ``line_checks``, ``attribute_checks``: what is wrong with one line, and what of it can be used.
"""
