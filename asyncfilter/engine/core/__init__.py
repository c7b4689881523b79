"""The parts that the engine is made of: limiter, budget gate, worker pool, retries, stop signal, work items."""
