"""People's rights: finding everything that names a person in Redis, and erasing it.

Kafka keeps its records until their retention ends; that is for the operator, and in the runbook.
"""
