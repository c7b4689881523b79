"""Preview runs, which are small runs before the main one: samples, benchmarks, reference images."""
