"""The settle loop: outcomes become durable, are judged in order, carried out, and settled."""
