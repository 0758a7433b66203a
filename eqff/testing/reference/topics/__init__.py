"""One file a topic, called as the topic: its ``quantities(case) -> Iterable[Quantity]`` computes what a case lists.

A topic without a file is reported as not implemented. Adding the file is all it takes.
"""
