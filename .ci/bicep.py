"""Reads Bicep with tree-sitter: what does not fit the grammar is said with its place, and ends with code 1.

    python3 .ci/bicep.py <file.bicep>...

It knows the language and no resource type: a property that does not exist is not seen. The compiler would; it is on NuGet and in
GitHub's releases only.
"""

import sys

import tree_sitter_bicep
from tree_sitter import Language, Parser


def broken(node):
    """The innermost places that do not fit the grammar."""
    inside = [place for child in node.children if child.has_error for place in broken(child)]
    if inside:
        return inside
    return [node] if node.is_error or node.is_missing else []


def main(files):
    parser = Parser(Language(tree_sitter_bicep.language()))
    failed = 0
    for file in files:
        with open(file, "rb") as opened:
            text = opened.read()
        root = parser.parse(text).root_node
        for place in broken(root) or ([root] if root.has_error else []):
            row, column = place.start_point
            print(f"{file}:{row + 1}:{column + 1}: not Bicep", file=sys.stderr)
            failed += 1
    print(f"{len(files)} templates, {failed} errors")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
