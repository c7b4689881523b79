"""The settle loop: it makes outcomes durable, judges them in order, releases their actions, and settles images."""
