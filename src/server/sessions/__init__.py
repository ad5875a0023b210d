"""A client as the services see it: who it is, and its connection with the queue of what is written to it. Stands on observe and limits."""
