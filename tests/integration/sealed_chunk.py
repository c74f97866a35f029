"""Opens sealed objects of a volume, from docs/volume-format.md alone.

usage: sealed_chunk.py VOLUME-FOLDER KEY-FILE-OR-PASSPHRASE-FILE NUMBER

Writes the blocks of a chunk to its standard output, and its frames to its standard error.
"""

import hashlib
import struct
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derive(key, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def without_sum(data):
    return data[:12] + bytes(4) + data[16:]


def data_key(folder, secret):
    head = open(f"{folder}/head", "rb").read()
    volume = head[16:32]
    record = open(f"{folder}/keys/{volume.hex()}", "rb").read()
    salt = record[48:80]
    if u32(record, 32) == 1:
        wrapping = derive(secret, salt, b"ublk wrap")
    else:
        n, r, p = 2 ** u32(record, 36), u32(record, 40), u32(record, 44)
        secret = secret.removesuffix(b"\n")
        wrapping = hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=2**29, dklen=32)
    return AESGCM(wrapping).decrypt(bytes(12), record[80:128], without_sum(record[:80]))


def nonce(count):
    return struct.pack("<QI", count, 0)


def open_chunk(data, chunk, number):
    info = b"ublk object" + chunk[0:8] + chunk[16:32] + struct.pack("<Q", number)
    key = AESGCM(derive(data, chunk[128:144], info))
    block, frames, blocks, at = (u32(chunk, field) for field in (64, 68, 72, 76))
    length = frames * 32 + blocks * (4 + 16)
    tag = chunk[160:176]
    body = key.decrypt(nonce(0), chunk[176 : 176 + length] + tag, without_sum(chunk[:160]))
    for frame in range(frames):
        first, count, kind = struct.unpack_from("<QII", body, frame * 32)
        print(first, count, "hole" if kind == 1 else "data", file=sys.stderr)
    tags = body[frames * 32 + blocks * 4 :]
    for nth in range(blocks):
        start = at + nth * block
        sealed = chunk[start : start + block] + tags[nth * 16 : nth * 16 + 16]
        yield key.decrypt(nonce(nth + 1), sealed, None)


if __name__ == "__main__":
    folder, secret_path, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    data = data_key(folder, open(secret_path, "rb").read())
    chunk = open(f"{folder}/chunks/{number:016x}", "rb").read()
    for plain in open_chunk(data, chunk, number):
        sys.stdout.buffer.write(plain)
