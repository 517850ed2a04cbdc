"""One run from a shell; under torchrun in several processes.

    python -m emolib.worker SPEC.json --data-root /data --study-folder results/mine
    torchrun --standalone --nproc-per-node 4 -m emolib.worker SPEC.json ...

SPEC.json: a RunSpec as in a run folder's spec.json; settings it leaves out are the defaults.
"""

from .training.launch import worker as main

if __name__ == "__main__":
    main()
