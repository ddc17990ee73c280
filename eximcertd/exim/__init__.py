"""The Exim room: how Exim is run and asked, which of its daemons run, and what they listen on.

Standard library only. eximcertd, eximcertctl and eximcertd-reload use it; eximcertd-publish, root's part, does not.
"""
