"""Fuzzing: records and scoring models that nobody would write, for minutes (`make fuzz`).

What must hold is in `properties`, where to begin in `seeds`; Hypothesis builds on the seeds'
shape, atheris (where it is installed) follows the code's branches.
"""
