"""Counts and prints the checks of a run; several lanes report at once."""

import threading
import time
import traceback
from collections import Counter, defaultdict

from worker import Unsupported

KINDS = {"ok": "passed", "FAIL": "failed", "n/a": "skipped"}


class Report:
    """One line per check, and one at the end that counts."""

    def __init__(self, work):
        self.work = work
        self._guard = threading.Lock()
        self._counts = Counter()
        self._by_family = defaultdict(Counter)

    def evidence(self, *names):
        at = self.work.joinpath(*(name.replace("/", "-") for name in names))
        at.mkdir(parents=True, exist_ok=True)
        return at

    def check(self, family, name, run, *arguments):
        """Runs one check; true if it passed, or cannot be asked of this family."""
        begun = time.monotonic()
        try:
            if name in family.cannot:
                raise Unsupported(family.cannot[name])
            run(*arguments)
        except Unsupported as why:
            self._tell("n/a", family, name, f": {why}")
            return True
        except Exception as why:
            text = traceback.format_exc()
            at = self.evidence(family.name) / "failures.txt"
            with self._guard, at.open("a") as file:
                file.write(f"== {name}\n{text}\n")
            kind = "" if isinstance(why, AssertionError) else f"{type(why).__name__}: "
            first = (str(why).splitlines() or [""])[0][:400]
            self._tell("FAIL", family, name, f": {kind}{first}", at)
            return False
        self._tell("ok", family, name, f" ({time.monotonic() - begun:.1f} s)")
        return True

    def table(self):
        """What each family passed, failed and cannot, as lines."""
        for name, counts in self._by_family.items():
            told = ", ".join(f"{counts[kind]} {word}" for kind, word in KINDS.items())
            yield f"{name}: {told}"

    def close(self):
        told = ", ".join(f"{self._counts[kind]} {word}" for kind, word in KINDS.items())
        print(f"families: {told}", flush=True)
        return 0 if self._counts["ok"] and not self._counts["FAIL"] else 1

    def _tell(self, kind, family, name, rest, evidence=None):
        with self._guard:
            self._counts[kind] += 1
            self._by_family[family.name][kind] += 1
            print(f"{kind:<4} {family.name}: {name}{rest}", flush=True)
            if evidence:
                print(f"     evidence: {evidence.parent}", flush=True)
