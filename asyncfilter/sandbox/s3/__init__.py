"""S3 as the sandbox serves it: one module per group of operations, ``service`` in front of them."""
