"""What is probably a mistake in a job, by subject; ``asyncfilter.policy.job_warnings`` collects it."""
