"""Scripts that stand outside the package, as modules."""

import importlib.util


def script(file):
    found = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
