"""Conversations written for people and for programs, and read from where they were written.

Pure: no store and no screen. Whoever reads pictures in passes the function that checks them.
"""
