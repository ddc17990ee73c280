"""Running and asking Exim, its daemons, and their listening sockets.

Standard library only. eximcertd, eximcertctl and eximcertd-reload use it; eximcertd-publish does not.
"""
