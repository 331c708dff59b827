"""Composition: the command line, the supervisor and its processes, the embedded servers, the demo.

It puts the other packages together and is imported by none of them.
"""
