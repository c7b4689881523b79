"""Small runs ahead of the main one: samples, benchmarks, reference images."""
