"""Examination on other machines: one head, which is the engine, and any number of workers that examine for it.

The head lists, reserves, gives turns, makes durable, judges and acts; a worker gets one ask (one image to prepare, or
one paid attempt), answers, and never repeats, decides or writes. Nothing here knows how the bytes travel: a ``Wire``
carries them (``wires``); ``rays`` is the one over Ray.

- ``messages``, ``faults``: what travels, typed and bounded.
- ``window``, ``link``, ``crew``: the head's end: flow control, one worker, all workers.
- ``ports``: the engine's ``Detector`` and ``Preparation`` over a crew.
- ``examiner``, ``kept``, ``transit``, ``held``: the worker's end.
"""
