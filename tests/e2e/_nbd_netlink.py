"""Gives the kernel's NBD client connections to a server, by netlink: nbd-client of Debian 12 can only
configure a device, and not give a new connection to one that has lost its server.

usage: _nbd_netlink.py configure|reconfigure INDEX SOCKET CONNECTIONS
"""

import socket
import struct
import sys

# include/uapi/linux/nbd-netlink.h
CONNECT, RECONFIGURE = 1, 3
INDEX, SIZE, BLOCK, TIMEOUT, SERVER_FLAGS, SOCKETS, DEAD_CONN_TIMEOUT = 1, 2, 3, 4, 5, 7, 8
# A request without an answer for so long is sent again, and without a server it waits for so long. A
# server that lives answers sooner, also on emulated CPUs that it shares.
TIMEOUT_S, DEAD_CONN_TIMEOUT_S = 10, 120


def shake_hands(path):
    """Returns a connection in its transmission phase, the disk's size, and the export's flags."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(path)
    with link.makefile("rb") as incoming:
        assert incoming.read(18)[:16] == b"NBDMAGICIHAVEOPT"
        link.sendall(struct.pack(">I8sIIIH", 3, b"IHAVEOPT", 7, 6, 0, 0))
        while True:
            _, _, kind, length = struct.unpack(">QIII", incoming.read(20))
            data = incoming.read(length)
            if kind == 1:
                return link, size, flags
            assert kind == 3, data
            if data[:2] == b"\0\0":
                size, flags = struct.unpack(">QH", data[2:])


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def ask(netlink, family, command, *attributes):
    """Sends a request of a generic family, and returns the answer's attributes."""
    body = struct.pack("=BBH", command, 1, 0) + b"".join(attributes)
    netlink.sendall(struct.pack("=IHHII", 16 + len(body), family, 5, 1, 0) + body)
    answer = b""
    while True:
        part = netlink.recv(65536)
        _, kind = struct.unpack("=IH", part[:6])
        if kind == 2:
            (error,) = struct.unpack("=i", part[16:20])
            assert error == 0, f"errno {-error}"
            return answer
        answer = part[20:]


def family_of(netlink, name):
    answer = ask(netlink, 16, 3, attribute(2, name + b"\0"))
    while True:
        length, kind = struct.unpack("=HH", answer[:4])
        if kind == 1:
            return struct.unpack("=H", answer[4:6])[0]
        answer = answer[(length + 3) // 4 * 4 :]


def main(what, index, path, connections):
    links = [shake_hands(path) for _ in range(int(connections))]
    _, size, flags = links[0]
    sockets = b"".join(
        attribute(1, attribute(1, struct.pack("=I", link.fileno()))) for link, _, _ in links
    )
    numbers = {SIZE: size, BLOCK: 512, TIMEOUT: TIMEOUT_S, SERVER_FLAGS: flags}
    if what == "configure":
        numbers[DEAD_CONN_TIMEOUT] = DEAD_CONN_TIMEOUT_S
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16) as netlink:
        netlink.bind((0, 0))
        family = family_of(netlink, b"nbd")
        command = {"configure": CONNECT, "reconfigure": RECONFIGURE}[what]
        settings = [attribute(kind, struct.pack("=Q", value)) for kind, value in numbers.items()]
        place = attribute(INDEX, struct.pack("=I", int(index)))
        ask(netlink, family, command, place, *settings, attribute(SOCKETS, sockets))


main(*sys.argv[1:])
