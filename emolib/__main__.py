"""python -m emolib verify results: does everything in a results folder follow from the rest?"""

import argparse
import sys

from .provenance import findings


def main(words=None) -> int:
    parser = argparse.ArgumentParser("python -m emolib")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="does everything in a results folder follow?")
    verify.add_argument("results_root")
    verify.add_argument("--data-root", default="", help="also hold the sets there against the runs")
    chosen = parser.parse_args(words)
    found = findings(chosen.results_root, chosen.data_root)
    by_status = {s: [f for f in found if f.status == s] for s in ("ok", "unchecked", "wrong")}
    for finding in by_status["wrong"]:
        print(f"wrong: {finding}")
    print(
        f"{len(by_status['ok'])} files follow from the others, {len(by_status['unchecked'])} could "
        f"not be checked (what they come from is not here), {len(by_status['wrong'])} are wrong"
    )
    return 1 if by_status["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
