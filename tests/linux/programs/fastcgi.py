"""fastcgi.py NAME: accepts connections at its standard input, as a FastCGI program, and writes its name to each."""

import socket
import sys

listener = socket.socket(fileno=0)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(sys.argv[1].encode())
