"""python -m emolib verify results: does everything there follow? report: one page that says it."""

import argparse
import sys

from . import report
from .provenance import findings


def main(words=None) -> int:
    parser = argparse.ArgumentParser("python -m emolib")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="does everything in a results folder follow?")
    verify.add_argument("results_root")
    verify.add_argument("--data-root", default="", help="also hold the sets there against the runs")
    page = commands.add_parser("report", help="writes REPORT.md, one page to cite")
    page.add_argument("results_root")
    chosen = parser.parse_args(words)
    if chosen.command == "report":
        print(report.write(chosen.results_root))
        return 0
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
