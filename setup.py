"""What pyproject.toml cannot say: models/ and results/leaderboard/ are packages of emolib's, so
that wheels have them."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["emolib*"]), "emolib.models", "emolib.leaderboard"])
