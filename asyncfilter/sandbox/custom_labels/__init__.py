"""The Custom Labels of the sandbox: projects, datasets and model versions, training, and running models.

States follow from the time at which they are looked at (``states``). States, limits, errors and their order are those
of the service model (rekognition, 2016-06-27) and of the Custom Labels guide; where a fact is not known, the docstring
at that place states the assumption. Everything runs on the loop's thread but the judgement of manifests, training and
the detections of trained models, which run in threads.
"""
