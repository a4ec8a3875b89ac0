"""The web's door: reads a request, opens a transaction, calls a verb of a room, renders. It decides nothing else.

`routes` is the one list of what can be asked for. Every line of it has an `Access`; nothing is served without.
"""
