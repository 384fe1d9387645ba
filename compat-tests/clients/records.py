"""The records of harness/records.go, in Python."""

FIRST_TIMESTAMP = 1700000000000
SIZES = [0, 1, 10, 100, 1000, 5000]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
PARTITIONS = 3
COUNT = 120  # per topic


def make(i):
    """key, value, headers, timestamp of record i."""
    key = None if i % 7 == 0 else b"key-%d" % i
    value = None if i % 11 == 10 else bytes((i * 31 + j * 7) % 256 for j in range(SIZES[i % len(SIZES)]))
    headers = []
    if i % 3 > 0:
        headers.append(("n", b"%d" % i))
    if i % 3 > 1:
        headers += [("empty", b""), ("null", None)]
    return key, value, headers, FIRST_TIMESTAMP + i * 1000


def check(want, i, key, value, headers, timestamp):
    got = (key, value, list(headers or []), timestamp)
    assert got == want, f"record {i} is {got!r:.300}, not {want!r:.300}"


def step(text):
    print("ok", text, flush=True)
