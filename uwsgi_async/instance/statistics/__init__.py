"""Looking at an instance: its numbers are written down, collected, and told as JSON, to Prometheus and to probes."""
