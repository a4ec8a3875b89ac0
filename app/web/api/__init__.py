"""The JSON API: one file a room. Keys are camelCase, callers bring a bearer token, failures are
`{"error": {"code", "message", "fields"}}`. What an endpoint takes and gives is declared beside it (`endpoint`).
"""
