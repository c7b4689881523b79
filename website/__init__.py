"""What makes the documentation site beside MkDocs: pages generated from the program, screenshots, hooks of the build."""
