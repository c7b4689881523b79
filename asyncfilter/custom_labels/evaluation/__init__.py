"""How good a model version is, by the two files that its training wrote; everything here is free of AWS.

- ``summary``: the service's own figures, from the evaluation summary in both of its published shapes.
- ``snapshot``, ``snapshot_line``: the test images with their labels and predictions, from the test snapshot.
- ``model``: what these two hold.
- ``metrics``: figures counted from the snapshot, which are shown beside the service's and never as these.
- ``curves``: precision and recall at every threshold, by scikit-learn.
- ``evaluation``: all of it together, with the fields of ``--json``.
- ``comparison``: two versions, and whether they were tested with the same images.

Source of the forms: Custom Labels guide, *Accessing the model summary file*, *Reference: Training results summary
file*, and *Interpreting the evaluation manifest snapshot*.
"""
