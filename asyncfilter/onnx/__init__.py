"""Models of one's own in ONNX format: files, labels, pictures and scores; the runner of a job and of the sandbox.

``files`` reads a model and what belongs to it, ``label_names`` and ``preprocessing`` its two files beside it,
``session`` opens it with onnxruntime and checks it, ``model`` turns pictures into labels, ``batching`` forms batches.

Imports nothing of the package, since the sandbox imports it. Of onnxruntime and numpy (extra ``onnx``) nothing is
imported before a model is opened, and Pillow is not imported at all: ``frames`` works on pictures that are open.
"""
