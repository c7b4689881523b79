"""People's answers as other programs have them: Label Studio, Ground Truth manifests, CSV and JSON Lines.

Readers turn bytes into units (``units``): what one annotation, row or line says, or why it is not used. ``matching``
finds the image of each, and ``conflicts`` what one person says twice in a file; writers turn answers into bytes. None
of these opens a checkpoint, an answers file or a connection.
"""
