"""The notifier: takes alerts from Kafka to the people and programs that want them.

Rules (who is told, when, in which words) are pure functions in ``matching``, ``policy`` and
``rendering``; Kafka, HTTP and Apprise are met in the other modules. No score is computed here.
"""
