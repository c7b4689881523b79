"""Manifests of Amazon Rekognition Custom Labels: lines are read as bytes, checked, repaired and written.

A manifest is JSON Lines in the form of SageMaker Ground Truth: one image a line, with its labels or boxes.

- Reading: ``physical_lines`` (a file as lines), ``json_object`` (a line as JSON), ``source_ref`` (bucket and key),
  ``line_checks.read_manifest`` (lines with what is wrong and what can be used), ``attribute_checks`` (one attribute).
- Checking a file: ``validation`` over ``tally`` (counts), ``file_checks`` (rules about the whole) and ``finding_log``;
  ``codes`` has every code, ``ref_index`` finds repeated addresses, ``statistics`` counts for ``manifest stats``.
- Images: ``image_facts`` (what is wrong with an image), ``image_journal`` (what a check has found so far).
- Repairing: ``fixing`` (a file), ``repairs`` (a line), ``multi_label`` (SageMaker's lines with several labels).
- Writing: ``line_form`` (the bytes of a line), ``pixels`` (boxes in whole pixels), ``writing`` (the rules that all
  writers share), ``row_rules`` (what cannot be a line), ``from_run`` with ``run_labels`` and ``run_refs`` (examined
  images), ``from_folders`` (a listing), ``from_csv`` with ``csv_table`` (rows), ``model`` (labels and boxes of an image),
  ``moments`` (dates).
"""
