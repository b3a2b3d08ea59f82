"""Reads PowerShell with tree-sitter: what is not PowerShell is said with its place, and ends with code 1.

    python3 .ci/powershell.py <file.ps1>...

It knows the language and not what runs: a command that does not exist, or a newer syntax than Windows PowerShell 5.1 has,
is not seen.
"""

import sys

import tree_sitter_pwsh
from tree_sitter import Language, Parser


def broken(node):
    """The innermost places that do not fit the grammar."""
    inside = [place for child in node.children if child.has_error for place in broken(child)]
    if inside:
        return inside
    return [node] if node.is_error or node.is_missing else []


def main(files):
    parser = Parser(Language(tree_sitter_pwsh.language()))
    failed = 0
    for file in files:
        with open(file, "rb") as opened:
            text = opened.read()
        root = parser.parse(text).root_node
        places = broken(root) or ([root] if root.has_error else [])
        for place in places:
            row, column = place.start_point
            missing = f"{place.type} is missing" if place.is_missing else "not PowerShell"
            line = text.splitlines()[row].decode("utf-8", "replace").strip() if text else ""
            print(f"{file}:{row + 1}:{column + 1}: {missing}: {line}", file=sys.stderr)
        failed += len(places)
    print(f"{len(files)} scripts, {failed} errors")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
