"""The Grafana dashboards as code: what is drawn here, ``make dashboards`` writes as JSON.

Development only. Nothing here is part of the package, and nothing of ours is imported but the
names of the stages.
"""
