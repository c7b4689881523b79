"""IAM of the sandbox: which action a request needs, one identity policy, and its simulation."""
