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

from t2m_edge.evaluation.commands import Parser, command, folder, own_folder, positive, some_of
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
    parser = Parser("", __doc__)
    parser.add_argument("--shared", type=folder, required=True, help="folder that holds data/")
    parser.add_argument("--cache", type=own_folder, required=True, help="where features and results are kept")
    parser.add_argument(
        "--encoder",
        type=folder,
        action="append",
        required=True,
        help="folder of a text encoder or of all-MiniLM-L6-v2; repeat it to compare others with the first",
    )
    known, every = (*BACKBONES, STRICT), "some of: %(default)s"
    parser.add_argument("--packs", type=folder, help="folder of strict packs; without it their backbones are left out")
    parser.add_argument("--backbones", type=some_of(known), help=f"some of: {', '.join(known)}")
    parser.add_argument("--datasets", type=some_of(DATASETS), default=",".join(DATASETS), help=every)
    parser.add_argument(
        "--splits", type=some_of(SPLITS), default=",".join(SPLITS), help=f"{every} (the strict ones: CIFAR-100)"
    )
    parser.add_argument("--methods", type=some_of(tuple(BY_NAME), ";"), help="some of: " + "; ".join(BY_NAME))
    parser.add_argument("--seeds", type=positive, default=1, help="of the networks")
    parser.add_argument("--jobs", type=positive, default=2, help="processes")
    parser.add_argument("--generalised", action="store_true", help="seen and unseen classes in one task, too")
    parser.add_argument("--out", type=own_folder, help="write JSON, tables and plots here")
    parser.add_argument(
        "--tune", action="store_true", help="choose the networks' settings instead, with the first encoder"
    )
    parser.add_argument("--trials", type=positive, default=TRIALS, help="settings that --tune tries for each method")
    return parser


def run(args: argparse.Namespace) -> None:
    """The command; raises InputError."""
    names, splits = args.methods or list(BY_NAME), tuple(args.splits)
    backbones = args.backbones or ["mobilenet_v1", "mobilenet_edgetpu", *([STRICT] if args.packs else [])]
    encoders = args.encoder[:1] if args.tune else args.encoder
    sources = Sources(args.shared, args.cache, args.packs, encoders, any("pooled" in n for n in names))
    sources.check(backbones, args.datasets, splits)
    groups = [(b, d, group) for b in backbones for d in args.datasets for group in sources.splits(b, d, splits)]
    if args.tune:  # the strict sets have the settings of the numbered splits, too
        groups = [found for found in groups if found[2][0] in NUMBERED]
    if not groups:
        raise InputError(f"there is nothing to measure: {', '.join(args.datasets)} with splits {', '.join(splits)}")
    results = ResultFile(args.cache / "study.jsonl")
    for backbone, dataset, group in groups:
        places = [Place(backbone, dataset, s, e) for e in sources.encoders for s in group]
        if args.tune:
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


@command
def main() -> None:
    run(arguments().parse_args())


if __name__ == "__main__":
    main()
