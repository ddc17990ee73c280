"""The server beyond the relay, run inside the machine: adds every message on port 2525 to /root/arrived."""

import socketserver
from pathlib import Path


class Taker(socketserver.StreamRequestHandler):
    """One SMTP session."""

    def handle(self) -> None:
        """Say yes to everything."""
        self.wfile.write(b"220 sink\r\n")
        for line in self.rfile:
            if line[:4].upper() == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                with Path("/root/arrived").open("ab") as arrived:
                    arrived.writelines(iter(self.rfile.readline, b".\r\n"))
            self.wfile.write(b"250 yes\r\n")
            if line[:4].upper() == b"QUIT":
                return


class Server(socketserver.TCPServer):
    """Takes one session at a time."""

    allow_reuse_address = True


with Server(("192.0.2.2", 2525), Taker) as server:
    server.serve_forever()
