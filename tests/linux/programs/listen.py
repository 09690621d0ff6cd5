"""listen.py KIND PORT [CODE]: once the pipe `gate` is opened, write "listening" to `order` and answer on a port.

KIND tcp accepts connections; http answers 503 twice, then 200. TERM ends it. CODE: end with it at once instead.
"""

import os
import socket
import sys

kind, port = sys.argv[1], int(sys.argv[2])
with open("gate", "rb") as gate:
    gate.read(1)
if len(sys.argv) > 3:
    os._exit(int(sys.argv[3]))
order = os.open("order", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
server = socket.create_server(("127.0.0.1", port))
answers = [b"503", b"503"] if kind == "http" else []
if not answers:
    os.write(order, b"listening\n")
while True:
    client, _ = server.accept()
    if kind == "http":
        client.recv(1000)
        answer = answers.pop() if answers else b"200"
        os.write(order, b"answered %s\n" % answer)
        client.sendall(b"HTTP/1.0 %s text\r\n\r\n" % answer)
    client.close()
