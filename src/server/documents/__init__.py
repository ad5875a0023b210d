"""Documents on this node: joining, the pipeline of operations, what they were, what becomes of their history. Stands on sessions."""
