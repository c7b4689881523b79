"""The S3 of the sandbox: one module per group of operations; ``service`` dispatches requests to them."""
