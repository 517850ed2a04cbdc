"""What pyproject.toml cannot say: models/ is a package of emolib's, so that wheels have it."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["emolib*"]), "emolib.models"])
