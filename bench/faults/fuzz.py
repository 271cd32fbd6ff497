"""10,000 broken files: each reader gives the right thing or a sentence. `--guided` adds a coverage-guided fuzzer.

    python bench/faults/fuzz.py [--examples 1430] [--guided 20000]

Facts: bench/facts/faults_fuzz.json. An input is `read` (and, written and read again, says the same), `refused` by a
ValueError or OSError whose sentence names the file and holds no control character, or it is a fault.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from targets import Target, targets

FACTS = Path(__file__).parents[1] / "facts" / "faults_fuzz.json"
SHORT, LONG = 20, 6000
WORDS = r"""nan inf -1 0 1e999 1_000 0x10 true null " ' [[ {} ] = ; <script> ../../x __class__ 1979-05-27 2.5"""
NASTY = [word.encode() for word in WORDS.split()] + [
    *(
        b"9" * 400,
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\n",
        b"\r",
        b"\t",
        b"\x1b[2J",
        "\u202e".encode(),
    ),
    *(b"[" * 3000, b'{"a":' * 3000, b"a." * 3000, b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"),
]


@st.composite
def broken(draw: Any, examples: tuple[bytes, ...]) -> bytes:
    """A whole file with one to five places cut, doubled, overwritten or sown with nasty words; or any bytes."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=300))
    content = draw(st.sampled_from(examples))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.one_of(st.integers(0, 8), st.integers(0, 200), st.integers(0, 20000))))
        how = draw(st.integers(0, 4))
        if how == 0:
            middle = b""
        elif how == 1:
            middle = content[start:end] * 2
        elif how == 2:
            middle = draw(st.binary(min_size=1, max_size=8))
        elif how == 3:
            middle = draw(st.sampled_from(NASTY))
        else:
            other = draw(st.integers(0, len(content)))
            middle = content[other : other + end - start]
        content = content[:start] + middle + content[end:]
    return content


def outcome(target: Target, content: bytes) -> str:
    """ "read", "refused", or the fault in words."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        target.lay(folder, content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = target.read(folder)
                if target.again is not None:
                    target.again(folder, value)
        except (ValueError, OSError) as error:
            return sentence_fault(str(error), folder) or "refused"
        except AssertionError as error:
            return f"silently wrong: {error}"
        except BaseException as error:
            return f"not a sentence: {type(error).__name__}: {str(error)[:80]}"
    return "read"


def sentence_fault(text: str, folder: Path) -> str:
    """What is wrong with an error's text as a reader meets it; empty where nothing is."""
    if not SHORT <= len(text) <= LONG:
        return f"a sentence of {len(text)} characters: {text[:80]!r}"
    if str(folder) not in text:
        return f"does not name the file: {text[:80]!r}"
    odd = sorted({c for c in text if not c.isprintable() and c != "\n"})
    return f"control characters {odd} in the sentence" if odd else ""


def run(target: Target, examples: int) -> tuple[Counter[str], dict[str, str]]:
    counts: Counter[str] = Counter()
    faults: dict[str, str] = {}

    @seed(11)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(broken(target.examples))
    def one(content: bytes) -> None:
        what = outcome(target, content)
        counts[what if what in ("read", "refused") else "fault"] += 1
        if what not in ("read", "refused"):
            faults.setdefault(what, content[:120].hex())

    one()
    return counts, faults


GUIDED = """
import sys, atheris
sys.path.insert(0, {here!r})
with atheris.instrument_imports(include=["isoscale", "tomllib", "csv", "json"]):
    import tempfile
    from pathlib import Path
    from fuzz import outcome
    from targets import targets
target = next(t for t in targets(Path(tempfile.mkdtemp())) if t.name == {name!r})
def one(data):
    what = outcome(target, data)
    if what not in ("read", "refused"):
        print("FAULT", what, data[:120].hex(), flush=True)
for at, example in enumerate(target.examples):
    Path({corpus!r}, str(at)).write_bytes(example)
atheris.Setup([sys.argv[0], "-runs={runs}", "-seed=1", "-max_len=8192", "-print_final_stats=1", {corpus!r}], one)
atheris.Fuzz()
"""


def guided(name: str, runs: int) -> dict[str, Any]:
    """The coverage-guided fuzzer (atheris) in a process of its own: edges covered, and the faults it printed."""
    with tempfile.TemporaryDirectory() as corpus:
        code = GUIDED.format(here=str(Path(__file__).parent), name=name, corpus=corpus, runs=runs)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, errors="replace")
    lines = done.stdout.splitlines()
    faults = sorted({line.split(" ", 1)[1].rpartition(" ")[0] for line in lines if line.startswith("FAULT ")})
    covered = [
        int(word)
        for line in done.stderr.splitlines()
        if " cov: " in line
        for word in line.split(" cov: ")[1].split()[:1]
    ]
    executed = [
        line.split()[-1] for line in done.stderr.splitlines() if line.startswith("stat::number_of_executed_units")
    ]
    if done.returncode != 0 or not covered or not executed:
        raise SystemExit(f"the guided fuzzer of {name} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return {"inputs": int(executed[0]), "edges_first": covered[0], "edges_last": covered[-1], "faults": faults}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=1430, help="inputs a reader; seven readers make 10,000")
    parser.add_argument("--guided", type=int, default=0, help="inputs a reader of the coverage-guided fuzzer")
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        every = [t for t in targets(Path(scratch)) if asked.only in ("", t.name)]
    for target in every:
        start = time.perf_counter()
        counts, faults = run(target, asked.examples)
        facts[target.name] = {"inputs": sum(counts.values()), **dict(sorted(counts.items())), "faults": faults}
        print(f"{target.name}: {dict(counts)} in {time.perf_counter() - start:.0f} s", flush=True)
        for what in list(faults)[:12]:
            print(f"   {what}")
        if asked.guided:
            facts[target.name]["guided"] = guided(target.name, asked.guided)
            print(f"   guided: {facts[target.name]['guided']}", flush=True)
    bad = sum(len(each["faults"]) + len(each.get("guided", {}).get("faults", ())) for each in facts.values())
    total = sum(each["inputs"] + each.get("guided", {}).get("inputs", 0) for each in facts.values())
    print(f"{total} inputs, {bad} kinds of fault")
    if not asked.only:
        FACTS.write_text(json.dumps({"inputs": total, "kinds_of_fault": bad, "readers": facts}, indent=1) + "\n")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
