"""python -m emolib.worker: one run from a shell, as `training.worker` says."""

from .training.worker import main

if __name__ == "__main__":
    main()
