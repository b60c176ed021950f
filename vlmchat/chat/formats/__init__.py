"""Conversations written for people and for programs, and read from where they were written.

Pure: no store and no screen. Whoever reads media in passes the functions that check and open
them; whoever wants frames to be seen passes what decodes them.
"""
