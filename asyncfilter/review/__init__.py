"""The review page: a local server, on which people decide images, correct labels and draw boxes.

Invariants:

- Nothing is served without the token of a reviewer, or a capability that was made for one; see ``gate``.
- No path and no key is part of any route, and no byte of a source is sent as it is.
- The checkpoint is only read, and no lock of a run is taken. What people say goes into the answers file alone.
- The index lives in the event loop's thread; files are read and written in other threads.
"""
