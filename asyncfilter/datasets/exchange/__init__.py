"""Conversion between manifests and the formats of other programs: SageMaker's multi-label lines, COCO, VOC, YOLO.

- ``conversion`` is one conversion, over the modules below.
- ``manifest_lines`` reads manifests as lines for conversion, ``multi_label_lines`` writes SageMaker's.
- ``coco``, ``voc`` and ``yolo`` read and write boxes, with the objects of globox (``globox_objects``, an extra).
- ``boxed_image`` is what they read; ``box_lines`` makes lines of it, ``box_files`` files of lines. ``formats`` tells a
  format from its content.
- ``names`` has the file names of images, ``file_sizes`` their sizes, ``rejects`` what could not be converted.
"""
