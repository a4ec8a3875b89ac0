"""The operators' pages: queues, jobs, workers, schedules, health and audit.

Reads the whole house, so every handler here stands behind `Access.OPERATOR`. Batch and destructive acts want a
fresh sign-in; each act and its audit row commit together (reliability, section 7).
"""
