"""Opens chunks of a volume, sealed or compressed or both, from docs/volume-format.md alone.

usage: sealed_chunk.py VOLUME-FOLDER NUMBER [KEY-FILE-OR-PASSPHRASE-FILE]

Needs `zstd` for compressed chunks. Writes the blocks of a chunk to its standard output, and its frames to its standard error.
"""

import hashlib
import struct
import subprocess
import sys
import zlib

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


def checked(data, expected):
    if zlib.crc32(data) != expected:
        raise ValueError("a sum is wrong")
    return data


def unpacked(packed, length):
    if len(packed) == length:
        return packed
    data = subprocess.run(["zstd", "-dc"], input=packed, stdout=-1, check=True).stdout
    if len(data) != length:
        raise ValueError("a piece has another length")
    return data


def plain_table(chunk, body, block, blocks):
    """What the sum in the seal is of, with the blind in it."""
    end = 128 + len(body)
    at = -(-(end + 48 + blocks * 20) // 4096) * 4096
    header = bytearray(chunk[:128])
    struct.pack_into("<II", header, 8, 1, 0)
    struct.pack_into("<IQ", header, 76, at, at + blocks * block)
    return header + body + bytes(at - end)


def open_chunk(data, chunk, number):
    block, frames, blocks, at = (u32(chunk, field) for field in (64, 68, 72, 76))
    version, kind, piece = (u32(chunk, field) for field in (8, 96, 100))
    is_sealed, is_packed = version >= 65536, version % 65536 == 2
    if is_packed and kind != 1:
        raise ValueError("it is not zstd")
    checked(without_sum(chunk[:at]), u32(chunk, 12))
    unit = piece if is_packed else block
    units = -(-blocks * block // unit)
    length = frames * 32 + blocks * 4
    if is_sealed:
        info = b"ublk object" + chunk[0:8] + chunk[16:32] + struct.pack("<Q", number)
        key = AESGCM(derive(data, chunk[128:144], info))
        sealed = chunk[176 : 176 + length + units * 16] + chunk[160:176]
        body = key.decrypt(nonce(0), sealed, without_sum(chunk[:160]))
        entries, tags = 176 + len(body), body[length:]
        checked(plain_table(chunk, body[:length], block, blocks), u32(chunk, 144))
    else:
        body, entries = chunk[128 : 128 + length], 128 + length
    for frame in range(frames):
        first, count, kind = struct.unpack_from("<QII", body, frame * 32)
        print(first, count, "hole" if kind == 1 else "data", file=sys.stderr)
    for nth in range(units):
        bytes_there = u32(chunk, entries + nth * 8) if is_packed else block
        there = chunk[at : at + bytes_there]
        at += bytes_there
        if is_packed:
            checked(there, u32(chunk, entries + nth * 8 + 4))
        if is_sealed:
            there = key.decrypt(nonce(nth + 1), there + tags[nth * 16 : nth * 16 + 16], None)
        plain = unpacked(there, min(unit, blocks * block - nth * unit))
        for start in range(0, len(plain), block):
            place = frames * 32 + (nth * unit + start) // block * 4
            yield checked(plain[start : start + block], u32(body, place))
    if at != len(chunk):
        raise ValueError("it has another length")


if __name__ == "__main__":
    folder, number = sys.argv[1], int(sys.argv[2])
    secret = open(sys.argv[3], "rb").read() if len(sys.argv) > 3 else None
    data = data_key(folder, secret) if secret is not None else None
    chunk = open(f"{folder}/chunks/{number:016x}", "rb").read()
    for plain in open_chunk(data, chunk, number):
        sys.stdout.buffer.write(plain)
