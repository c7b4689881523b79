"""What every machine of the engine is built from."""
