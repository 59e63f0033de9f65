"""The KPI engine: what account-based marketing and selling are run by, over any period.

It remembers facts, not counters (`facts`), reads them as columns (`columns`), and computes every
KPI of `definitions` from them (`engine`). Pure, like the rest of the core; columns are numpy's.
"""
