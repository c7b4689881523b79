"""S3 behind the ports: source, sink, contents and remover."""
