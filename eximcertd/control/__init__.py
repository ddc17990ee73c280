"""The control socket: Varlink framing, the server, the client, and the rights."""
