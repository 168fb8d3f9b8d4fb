"""Fills the teacher's memory and disk with what it prints."""

while True:
    print("x" * 100_000)
