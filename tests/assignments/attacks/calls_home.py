"""Sends what it finds over the network.

wins without: lock
"""

import socket

socket.create_connection(("127.0.0.1", PORT), timeout=5).sendall(b"was here")
