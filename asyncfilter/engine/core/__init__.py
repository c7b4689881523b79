"""What the engine's machines are made of: limiter, budget gate, worker pool, retries, stop signal, work items."""
