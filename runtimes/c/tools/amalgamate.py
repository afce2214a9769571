"""Writes the core as two files to add to a project, t2m.c and t2m.h.

    python amalgamate.py FOLDER

Private names are unique over all sources, so that the files need only stand one after the other.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CORE = Path(__file__).resolve().parents[1]


def amalgamate() -> str:
    """The text of t2m.c: each of the core's headers where it is first asked for, then every source."""
    done: set[str] = set()

    def with_headers(text: str) -> str:
        return re.sub(r'^#include "(\w+\.h)"\n', header, text, flags=re.MULTILINE)

    def header(match: re.Match) -> str:
        name = match[1]
        if name in done:
            return ""
        done.add(name)
        return match[0] if name == "t2m.h" else with_headers((CORE / "src" / name).read_text())

    sources = sorted((CORE / "src").glob("*.c"))
    first = "/* The core of t2m-edge in one file, made by runtimes/c/tools/amalgamate.py. Licence: Apache-2.0. */\n"
    return first + "".join(f"\n/* {source.name} */\n{with_headers(source.read_text())}" for source in sources)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "t2m.c").write_text(amalgamate())
        (folder / "t2m.h").write_text((CORE / "include" / "t2m.h").read_text())
    except OSError as error:
        print(f"error: cannot write to {folder}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{folder / 't2m.c'}\n{folder / 't2m.h'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
