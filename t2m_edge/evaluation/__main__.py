"""The accuracy study: methods x data sets x texts x backbones, on the same features, texts and splits.

    python -m t2m_edge.evaluation --shared ../shared --cache runs/cache --packs packs \\
      --encoder MiniLM --encoder strict --generalised --out docs/accuracy

Methods in closed form are tuned for each split on pseudo-unseen classes inside its seen ones; networks have the
committed settings of ``settings.json``, which ``--tune`` chose on such classes. Every result is kept in the cache
folder as soon as it is there, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from t2m_edge.evaluation.frozen_features import BACKBONES
from t2m_edge.evaluation.jobs import BY_NAME, Job, measure_all
from t2m_edge.evaluation.pages import Page, Results, write_index
from t2m_edge.evaluation.results import ResultFile
from t2m_edge.evaluation.sources import NUMBERED, STRICT, Place, Sources
from t2m_edge.evaluation.tuning import chosen, committed, trial_jobs, write_choice
from t2m_edge.training.splits import DATASETS, STRICT_SETS
from t2m_runtime import InputError

SPLITS = (*NUMBERED, *STRICT_SETS)
TRIALS = 8


def arguments() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m t2m_edge.evaluation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--cache", type=Path, required=True, help="where features and results are kept")
    parser.add_argument(
        "--encoder",
        type=Path,
        action="append",
        required=True,
        help="folder of a text encoder or of all-MiniLM-L6-v2; repeat it to compare others with the first",
    )
    parser.add_argument("--packs", type=Path, help="folder of strict packs; without it their backbones are left out")
    parser.add_argument("--backbones", help=f"some of: {', '.join((*BACKBONES, STRICT))}")
    parser.add_argument("--datasets", default=",".join(DATASETS), help="some of: %(default)s")
    parser.add_argument("--splits", default=",".join(SPLITS), help="some of: %(default)s (the strict ones: CIFAR-100)")
    parser.add_argument("--methods", help="some of: " + "; ".join(BY_NAME))
    parser.add_argument("--seeds", type=int, default=1, help="of the networks")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--generalised", action="store_true", help="seen and unseen classes in one task, too")
    parser.add_argument("--out", type=Path, help="write JSON, a table and a plot of each backbone and data set here")
    parser.add_argument(
        "--tune", action="store_true", help="choose the networks' settings instead, with the first encoder"
    )
    parser.add_argument("--trials", type=int, default=TRIALS, help="settings that --tune tries for each method")
    return parser


def some_of(option: str, given: str, known: tuple[str, ...], separator: str = ",") -> list[str]:
    """The names of a list; raises InputError where one is unknown."""
    names = [n.strip() for n in given.split(separator)]
    if unknown := [n for n in names if n not in known]:
        raise InputError(f"{option}: {unknown[0]!r} is unknown; write some of {separator.join(known)}")
    return names


def run(args: argparse.Namespace) -> None:
    """The command; raises InputError."""
    names = some_of("--methods", args.methods, tuple(BY_NAME), ";") if args.methods else list(BY_NAME)
    datasets = some_of("--datasets", args.datasets, DATASETS)
    splits = tuple(some_of("--splits", args.splits, SPLITS))
    default = ",".join(("mobilenet_v1", "mobilenet_edgetpu", *([STRICT] if args.packs else [])))
    backbones = some_of("--backbones", args.backbones or default, (*BACKBONES, STRICT))
    encoders = args.encoder[:1] if args.tune else args.encoder
    sources = Sources(args.shared, args.cache, args.packs, encoders, any("pooled" in n for n in names))
    sources.check(backbones, datasets, splits)
    results = ResultFile(args.cache / "study.jsonl")
    for backbone in backbones:
        for dataset in datasets:
            for group in sources.splits(backbone, dataset, splits):
                places = [Place(backbone, dataset, s, e) for e in sources.encoders for s in group]
                if args.tune:
                    if group[0] in NUMBERED:  # the strict sets have these settings, too
                        networks = [n for n in names if BY_NAME[n].seeded]
                        tune(networks, places, args.trials, sources, results, args.jobs)
                    continue
                page = study(names, places, args, sources, results)
                print(f"\n{page.markdown()}", flush=True)
                if args.out:
                    page.write(args.out)
    if args.out and not args.tune:
        write_index(args.out)


def tune(
    names: list[str], places: list[Place], trials: int, sources: Sources, results: ResultFile, processes: int
) -> None:
    """Choose the settings of each method and commit them as soon as all its trials are there."""
    for name in names:
        measure_all(trial_jobs(BY_NAME[name], places, trials), sources, results, processes)
        choice = chosen(BY_NAME[name], places, trials, sources, results)
        write_choice(places[0].backbone, places[0].dataset, name, choice)
        print(f"{name}: {choice}", file=sys.stderr, flush=True)


def study(
    names: list[str], places: list[Place], args: argparse.Namespace, sources: Sources, results: ResultFile
) -> Page:
    """Measure what is missing and put the page together."""
    found = {n: committed(n, places[0].backbone, places[0].dataset) for n in names}
    seeds = {n: range(args.seeds if BY_NAME[n].seeded else 1) for n in names}
    jobs = {
        (n, p, s): Job("accuracy", n, p, c.settings if (c := found[n]) else None, s)
        for p in places
        for n in names
        for s in seeds[n]
    }
    measure_all(jobs.values(), sources, results, args.jobs)
    figures: Results = {place: results.get(job.key(sources)) for place, job in jobs.items()}
    joint: Results | None = None
    if args.generalised and places[0].split in NUMBERED:
        given = {(n, p): Job("generalised", n, p, figures[n, p, 0]["settings"]["descriptions"]) for n, p, _ in jobs}
        measure_all(given.values(), sources, results, args.jobs)
        joint = {(n, p, 0): results.get(job.key(sources)) for (n, p), job in given.items()}
    ids = {name: encoder.id for name, encoder in sources.encoders.items()}
    return Page(places, names, figures, joint, ids, {n: c.source for n, c in found.items() if c}, args.seeds)


def main() -> None:
    args = arguments().parse_args()
    try:
        run(args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
