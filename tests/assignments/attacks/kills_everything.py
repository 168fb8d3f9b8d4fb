"""Kills every process that it can see."""

import os

os.kill(-1, 9)
