"""Copies and moves between two kinds of stores, composed of what each kind can do by itself.

``transfer`` makes a copy from one end to another, ``routing`` sends each action to the store or the pair of stores that
it concerns. No kind of store is named here: ``wiring.stores`` has the table of kinds.
"""
