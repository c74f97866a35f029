"""A RAM disk for nbdkit's python plugin, as in its manual."""

API_VERSION = 2

disk = bytearray(64 << 20)


def thread_model():
    import nbdkit
    return nbdkit.THREAD_MODEL_PARALLEL


def open(readonly):
    return 1


def get_size(h):
    return len(disk)


def pread(h, buf, offset, flags):
    buf[:] = disk[offset:offset + len(buf)]


def pwrite(h, buf, offset, flags):
    disk[offset:offset + len(buf)] = buf
