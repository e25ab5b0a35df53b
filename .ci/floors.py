"""Prints the oldest supported version of every dependency, as a pip constraints file.

    python .ci/floors.py > floors.txt
    pip install -c floors.txt -e '.[test]'

The versions come from setup.py itself, so that what is tested and what is promised cannot drift apart.
"""

import ast
import pathlib
import re

SETUP = pathlib.Path(__file__).parent.parent / "setup.py"


def literal(name: str) -> list[str] | dict[str, list[str]]:
    """Value of the top-level assignment `name` of setup.py, which must be a literal."""
    for node in ast.parse(SETUP.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise KeyError(f"setup.py assigns no {name}")


def main() -> None:
    requirements = [*literal("REQUIRED"), *(r for extra in literal("EXTRAS").values() for r in extra)]
    floors = {}
    for requirement in requirements:
        # A requirement without a floor is a mistake in setup.py: match[...] raises.
        match = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)", requirement)
        floor = floors.setdefault(match[1], match[2])
        if floor != match[2]:
            raise ValueError(f"setup.py gives {match[1]} two floors: {floor} and {match[2]}")
    print("\n".join(f"{name}=={floor}" for name, floor in floors.items()))


if __name__ == "__main__":
    main()
