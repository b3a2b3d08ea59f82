"""Reads files with tree-sitter: what does not fit the grammar of a language is said with its place, and ends with code 1.

    python3 .ci/grammar.py powershell|bicep <file>...

A grammar knows the language and not what is behind it. Of PowerShell it does not see a command that does not exist, or a syntax newer
than Windows PowerShell 5.1 has; of Bicep no resource type and no property. The compiler of Bicep would; it is on NuGet and in GitHub's
releases only.
"""

import importlib
import sys

from tree_sitter import Language, Parser

GRAMMARS = {"powershell": ("tree_sitter_pwsh", "PowerShell"), "bicep": ("tree_sitter_bicep", "Bicep")}


def broken(node):
    """The innermost places that do not fit the grammar."""
    inside = [place for child in node.children if child.has_error for place in broken(child)]
    if inside:
        return inside
    return [node] if node.is_error or node.is_missing else []


def main(language, files):
    module, name = GRAMMARS[language]
    parser = Parser(Language(importlib.import_module(module).language()))
    failed = 0
    for file in files:
        with open(file, "rb") as opened:
            text = opened.read()
        root = parser.parse(text).root_node
        places = broken(root) or ([root] if root.has_error else [])
        for place in places:
            row, column = place.start_point
            missing = f"{place.type} is missing" if place.is_missing else f"not {name}"
            line = text.splitlines()[row].decode("utf-8", "replace").strip() if text else ""
            print(f"{file}:{row + 1}:{column + 1}: {missing}: {line}", file=sys.stderr)
        failed += len(places)
    print(f"{len(files)} files, {failed} errors")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
