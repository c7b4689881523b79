"""People's answers as other programs have them: Label Studio, Ground Truth manifests, CSV and JSON Lines.

Nothing here opens a checkpoint, an answers file or a connection.

- Reading: bytes become ``units``, what one annotation, row or line says or why it is not used. ``detecting`` tells the
  format; ``label_studio`` with ``label_studio_files`` and ``label_studio_results``, ``ground_truth``, ``answer_csv``
  with ``csv_rows``, and ``rows`` (JSON Lines) read. ``addresses``, ``boxes``, ``words``, ``json_values`` and
  ``json_lines`` are what they share.
- Importing: ``importing`` finds the image of each unit among the ``known`` ones, and counts; ``held_answers`` holds the
  answers of a file until its conflicts show; ``uids`` are made from content; a ``trial`` changes nothing.
- Writing: ``label_studio_tasks``, ``answer_lines`` (manifests), ``answer_csv``, ``rows``; ``answered`` has the images
  of an export in order, ``predictions`` what the machine says, ``questions`` those of an audit.
"""
