import os
import shutil
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"  # read at import; no test waits for a download

import pytest  # noqa: E402
import torch  # noqa: E402
from trees import make_fi, make_roi, make_twitter  # noqa: E402

# Tiny networks: threads cost more than they give, and results stay the same on any machine.
torch.set_num_threads(1)
os.environ["EMOLIB_THREADS"] = "1"
os.environ["EMOLIB_CHECKPOINT_SECONDS"] = "0"  # their epochs take no time, and each is to be kept
# One after another, because starting workers takes longer than these runs; who needs several at
# once says so.
os.environ["LOKY_MAX_CPU_COUNT"] = "1"
# Nothing of the tests stays in the user's cache; subprocesses share this one.
_cache = tempfile.TemporaryDirectory()
os.environ["EMOLIB_CACHE"] = _cache.name
# Nor does a test fail because the disk here is nearly full, where nothing is kept of pictures.
_usage = shutil.disk_usage
shutil.disk_usage = lambda path: _usage(path)._replace(free=_usage(path).total // 2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data root with all three sets, a few pictures each."""
    root = tmp_path_factory.mktemp("data")
    make_fi(root, each=5)
    make_roi(root, each=5)
    make_twitter(root)
    return root


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
