"""What the rows of a trained classifier stand for: their names, and texts where there are some."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from t2m_edge.task import Task, read_task
from t2m_edge.task.description import plain_name
from t2m_edge.task.reading import FORMATS
from t2m_edge.task.source import decode, read_bytes
from t2m_exporters.last_layer import MAX_ROWS
from t2m_runtime import InputError

NO_CLASS = ("background", "dummy", "unused", "n/a", "???")
"""Names of rows that stand for no class; nothing is learnt from them."""


@dataclass(frozen=True)
class RowNames:
    """One name a row, synonyms behind ", "; texts: of each row, none where only names are known; source: whose."""

    names: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    source: str

    @classmethod
    def bare(cls, names: tuple[str, ...], source: str) -> RowNames:
        """Names without texts."""
        return cls(names, ((),) * len(names), source)

    @property
    def known(self) -> list[int]:
        """Rows that stand for a class."""
        return [i for i, name in enumerate(self.names) if name.casefold().strip() not in NO_CLASS]

    def check_count(self, rows: int) -> None:
        """Raises InputError unless there are as many names as rows."""
        if (count := len(self.names)) != rows:
            hint = "; if its first row is 'background', add that as the first line" if count == rows - 1 else ""
            raise InputError(f"{self.source} has {count:,} class names, the model's last layer {rows:,} rows{hint}")

    def check_new(self, task: Task) -> None:
        """Raises InputError where a class of the task has the name, or a synonym, of a row."""
        taken = {plain_name(part): name for name in self.names for part in [name, *name.split(", ")]}
        for description in task.classes:
            if (there := taken.get(plain_name(description.name))) is not None:
                raise InputError(
                    f"the class {description.name!r} is there already (row {self.names.index(there)}, {there!r}); "
                    "leave it out or give it another name"
                )

    def doubled(self) -> list[str]:
        """A warning where rows share a name, as "crane" does in ImageNet's lists: the bird and the machine."""
        plain = [plain_name(self.names[i]) for i in self.known]
        twice = [name for name, count in Counter(plain).items() if count > 1]
        if not twice:
            return []
        rows = " and ".join(str(i) for i in self.known if plain_name(self.names[i]) == twice[0])
        more = f", and {len(twice) - 1:,} more names" if len(twice) > 1 else ""
        return [f"rows {rows} share the name {twice[0]!r}{more}; a name of its own for each teaches more"]


def read_names(path: Path) -> RowNames:
    """The names of a labels file, one a line; of a .csv, .json or .yaml descriptions file, with its texts."""
    data = read_bytes(path, "a file of class names")
    if path.suffix.casefold() in FORMATS and path.suffix.casefold() != ".txt":
        task = read_task(path, max_classes=MAX_ROWS)
        return RowNames(tuple(c.name for c in task.classes), tuple(c.texts for c in task.classes), str(path))
    lines = decode(data, str(path)).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    names = tuple(line.strip() for line in lines)
    if not names or not all(names):
        where = f", line {names.index('') + 1}" if names else ""
        raise InputError(f"{path}{where}: found no name; write one class name a line, in the order of the model's rows")
    return RowNames.bare(names, str(path))
