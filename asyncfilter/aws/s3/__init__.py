"""The S3 adapters of the ports: source, sink, contents and remover."""
