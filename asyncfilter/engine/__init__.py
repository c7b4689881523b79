"""The engine: one task group that moves images from a source through a detector and rules to a sink.

``examine/pipeline`` describes the path of one image; ``examine/assembly`` makes the parts of a run.
"""
