"""What makes the documentation site beside MkDocs: generated pages, screenshots, hooks of the build."""
