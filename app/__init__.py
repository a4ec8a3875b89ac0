"""Backlot: a creator studio and its job system inside one PostgreSQL. `architecture` of the house: see README."""
