"""The contracts between the server and what it stands on. One contract a file; a backend implements one of them in one file.
They stand on the core alone.

Each contract says what is guaranteed, in what order, what is atomic, who may block and what empty means. The suites in
``syncline.testing`` test exactly these sentences; every backend passes them, the memory ones first.

Two kinds of call:

* ``async def``: may wait for a disk or a network. Used where a request may wait (join, load, create).
* with ``done``: the hot path. The call returns at once; the backend batches everything submitted in one turn of the
  event loop and calls ``done(result, error)`` on the loop's thread when it is durable, exactly once, in the order of
  submission per key. Exactly one of the two arguments is None. A memory backend calls ``done`` before it returns.
  What cannot even be queued (the queue is full, the backend closed) fails with ``NotWritten`` at once, before the call
  returns, whatever is still under way.

A backend that was closed, or not started, is ``Unavailable``; what takes something away (``unsubscribe``) does nothing.
"""
