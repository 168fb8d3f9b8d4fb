"""Fills the disk with files."""

for number in range(10**6):
    with open(f"file{number}", "wb") as file:
        file.write(bytes(10_000_000))
