"""Mules and farms: queues of messages, and who takes messages from them."""
