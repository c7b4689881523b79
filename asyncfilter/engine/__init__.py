"""The engine: one task group that moves images from a source through a detector and rules to a sink.

``pipeline`` assembles the parts and brings them to an end; the way of one image is told there.
"""
