"""Talks to a service of the teacher's machine over a socket in the file system.

wins without: lock
"""

import socket

line = socket.socket(socket.AF_UNIX)
line.connect("COURSE/service.sock")
line.sendall(b"was here")
