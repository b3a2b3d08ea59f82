#!/usr/bin/env python3
"""Deliberate defects: each is put into a copy of the tree, and a named test must fail because of it.

    tests/defects/run.py --check              every defect still fits the sources (seconds)
    tests/defects/run.py --list               names, kinds and tests
    tests/defects/run.py --only NAME...       these only; a part of a name is enough (--exact: whole names)
    tests/defects/run.py                      all of them: each is a build and a test, so hours
    tests/defects/run.py --from NAME          goes on from this one

What is copied is what git knows, with changes that are not committed. The copy and its build stay in a directory of their
own ($AZMEND_DEFECTS, or target/defects), so that the next run builds only azmend itself. Says CAUGHT when the test fails,
NOT CAUGHT when it passes, DOES NOT APPLY when the old text is not there exactly once, DOES NOT BUILD when it does not
compile. Exit code 1 unless every defect was caught. The tests themselves are run without any defect first: a test that
fails by itself catches nothing.
"""

import argparse
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TABLE = HERE / "table.txt"


class Defect:
    def __init__(self, name):
        self.name, self.file, self.test, self.why, self.old, self.new = name, "", "", "", "", ""

    def place(self, root):
        """Where the old text begins, or why it does not apply."""
        path = root / self.file
        if not path.is_file():
            return None, f"no file {self.file}"
        text = path.read_text()
        count = text.count(self.old)
        if count != 1:
            return None, f"the old text is {count} times in {self.file}"
        return text, ""


def read_table():
    """Blocks: `## name`, then `why:`, `file:`, `test:`, then the old text after `<<<`, the new one after `===`, to `>>>`."""
    defects, part = [], ""
    for number, line in enumerate(TABLE.read_text().splitlines(keepends=True), 1):
        text = line.rstrip("\n")
        if part in ("old", "new"):
            if text == "===" and part == "old":
                part = "new"
            elif text == ">>>" and part == "new":
                defect.old, defect.new, part = defect.old.rstrip("\n"), defect.new.rstrip("\n"), ""
            else:
                setattr(defect, part, getattr(defect, part) + line)
        elif text.startswith("## "):
            defect = Defect(text[3:].strip())
            defects.append(defect)
        elif text == "<<<":
            part = "old"
        elif text.split(":")[0] in ("why", "file", "test"):
            key, value = text.split(":", 1)
            setattr(defect, key, value.strip())
        elif text and not text.startswith("#"):
            sys.exit(f"{TABLE}:{number}: not understood: {text}")
    names = [defect.name for defect in defects]
    for defect in defects:
        if names.count(defect.name) > 1 or not all((defect.file, defect.test, defect.why, defect.old)):
            sys.exit(f"{TABLE}: {defect.name} is there twice or not whole")
        if defect.old == defect.new:
            sys.exit(f"{TABLE}: {defect.name} changes nothing")
    return defects


def check(defects, root):
    bad = 0
    for defect in defects:
        _, why = defect.place(root)
        if why:
            bad += 1
            print(f"{defect.name}: DOES NOT APPLY: {why}")
        for path in tests_of(defect):
            if not path.is_file():
                bad += 1
                print(f"{defect.name}: there is no {path.relative_to(root)}")
        words = defect.test.split()
        *modules, name = words[-1].split("::")
        home = root / "crates" / words[1].removeprefix("azmend-") if words[0] == "-p" else root
        if name and not named(name, root):
            bad += 1
            print(f"{defect.name}: no test or module is called {name}")
        if "--lib" in words and not any(module_file(modules + more, home) for more in ([], [name])):
            bad += 1
            print(f"{defect.name}: there is no module {'::'.join(modules)}")
    print(f"{len(defects)} defects, {bad} do not fit")
    return bad


def tests_of(defect):
    words = shlex.split(defect.test)
    if "--test" in words:
        module = words[-1].split("::")[0]
        return [ROOT / "tests" / "it" / f"{module}.rs"]
    return []


def named(name, root):
    for folder in ("src", "tests", "crates"):
        for path in (root / folder).rglob("*.rs"):
            if path.stem == name or f"fn {name}(" in path.read_text() or f"    {name}: " in path.read_text():
                return True
    return (root / "src" / name).is_dir()


def module_file(path, root):
    """Whether `a::b::tests` is the module `tests` of src/a/b.rs, or a file of its own."""
    if path[-1:] == ["tests"]:
        return any("mod tests" in file.read_text() for file in files_of(path[:-1], root))
    return bool(files_of(path, root))


def files_of(path, root):
    base = root.joinpath("src", *path)
    return [file for file in (base.with_suffix(".rs"), base / "mod.rs") if file.is_file()]


def scratch():
    place = pathlib.Path(os.environ.get("AZMEND_DEFECTS", ROOT / "target" / "defects"))
    tree = place / "tree"
    tree.mkdir(parents=True, exist_ok=True)
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
    kept = set()
    for name in filter(None, names.split("\0")):
        source, target = ROOT / name, tree / name
        if not source.is_file():
            continue
        kept.add(target)
        if target.is_file() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        os.utime(target)
    for folder in ("src", "tests", "crates"):
        for path in (tree / folder).rglob("*.rs"):
            if path not in kept:
                path.unlink()
    return tree, place / "target"


def run_test(tree, target, test):
    """`(built, passed, output)`. A filter that fits no test does not pass."""
    env = dict(os.environ, CARGO_TARGET_DIR=os.environ.get("AZMEND_DEFECTS_TARGET", str(target)))
    env.setdefault("CARGO_INCREMENTAL", "1")
    cargo = shlex.split(os.environ.get("AZMEND_CARGO", "cargo")) + ["test", "--locked", "--quiet"]
    words = shlex.split(test)
    if words[0] != "-p":
        words = ["-p", "azmend", *words]
    build = cargo + words[:-1] + ["--no-run"]
    built = subprocess.run(build, cwd=tree, env=env, capture_output=True, text=True)
    if built.returncode != 0:
        return False, False, built.stderr
    ran = subprocess.run(cargo + words, cwd=tree, env=env, capture_output=True, text=True, timeout=3600)
    text = ran.stdout + ran.stderr
    some = re.search(r"running [1-9]\d* test", text) is not None
    return True, ran.returncode == 0 and some, text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--exact", nargs="+", metavar="NAME", help="these, by their whole names")
    parser.add_argument("--from", dest="begin", metavar="NAME")
    parser.add_argument("--verbose", action="store_true", help="show what the test printed")
    args = parser.parse_args()
    defects = read_table()
    if args.only:
        defects = [d for d in defects if any(part in d.name for part in args.only)]
    if args.exact:
        defects = [d for d in defects if d.name in args.exact]
    if args.begin:
        names = [d.name for d in defects]
        defects = defects[names.index(args.begin):]
    if args.list:
        for defect in defects:
            print(f"{defect.name}: {defect.why} ({defect.file})\n    cargo test {defect.test}")
        return 0
    if args.check:
        return 1 if check(defects, ROOT) else 0
    tree, target = scratch()
    words = {"CAUGHT": 0, "NOT CAUGHT": 0, "DOES NOT APPLY": 0, "DOES NOT BUILD": 0, "FAILS BY ITSELF": 0}
    sound = {}
    for defect in defects:
        text, why = defect.place(tree)
        if defect.test not in sound:
            built, passed, output = run_test(tree, target, defect.test)
            sound[defect.test] = built and passed
            if not sound[defect.test]:
                print(output[-3000:])
        if why:
            word = "DOES NOT APPLY"
        elif not sound[defect.test]:
            word = "FAILS BY ITSELF"
        else:
            path = tree / defect.file
            path.write_text(text.replace(defect.old, defect.new))
            try:
                built, passed, output = run_test(tree, target, defect.test)
            except subprocess.TimeoutExpired:
                built, passed, output = True, False, "the test did not end within an hour"
            finally:
                path.write_text(text)
            word = "DOES NOT BUILD" if not built else "NOT CAUGHT" if passed else "CAUGHT"
            if args.verbose or word != "CAUGHT":
                print(output[-3000:])
        words[word] += 1
        print(f"{word}: {defect.name} ({defect.test})", flush=True)
    print(", ".join(f"{count} {word.lower()}" for word, count in words.items() if count))
    return 0 if words["CAUGHT"] == len(defects) else 1


if __name__ == "__main__":
    sys.exit(main())
