"""What the caller is and may do: identity, simulation by IAM, harmless requests, and the opt-out of AI services."""
