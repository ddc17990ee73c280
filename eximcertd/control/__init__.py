"""The control socket: Varlink framing, the server, the client, and who may do what."""
