"""The accuracy study: ``python -m t2m_edge.evaluation --shared DIR --cache DIR [--tune]``.

Every method on the same features, texts and splits. Methods in closed form are tuned for each split on pseudo-unseen
classes inside its seen ones; networks have the committed settings of ``settings.json``, which ``--tune`` chose in the
same way over all splits.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from t2m_edge.evaluation.frozen_features import BACKBONES
from t2m_edge.evaluation.generalised import generalised
from t2m_edge.evaluation.methods import LINEAR, METHODS
from t2m_edge.evaluation.methods.method import CONDITIONS, Method
from t2m_edge.evaluation.pack_features import pack_name, pack_problem
from t2m_edge.evaluation.protocol import (
    POOLED,
    ClassEmbeddings,
    Problem,
    dataset_embeddings,
    frozen_problem,
    inner_problems,
    study,
    tuned,
)
from t2m_edge.evaluation.report import difference_table, generalised_table, table
from t2m_edge.packs import load_pack
from t2m_edge.text import TextEncoder, load_text_encoder
from t2m_edge.text.minilm import MiniLM
from t2m_edge.training.splits import DATASETS

BY_NAME = {m.name: m for m in METHODS}


def committed_settings() -> dict[str, dict[str, Any]]:
    """{method: settings} that ``--tune`` chose."""
    return json.loads(resources.files("t2m_edge.evaluation").joinpath("settings.json").read_text("utf-8"))


def settings_of(method: Method) -> dict[str, Any] | None:
    """Committed settings of a network; None where the method is tuned inside each split."""
    return committed_settings().get(method.name, method.settings) if method.seeded else None


def run_one(name: str, problem: Problem, seed: int) -> dict[str, list[float]]:
    """One method on one problem, in a process of its own."""
    torch.set_num_threads(1)
    return study(BY_NAME[name], problem, settings_of(BY_NAME[name]), seed)


def generalise_one(name: str, problem: Problem, seed: int) -> list[list[float]]:
    """[u, s, H] without and with calibration, given descriptions."""
    torch.set_num_threads(1)
    method = BY_NAME[name]
    settings = settings_of(method)
    if settings is None:
        settings = tuned(method, inner_problems(problem), "descriptions")
    found = generalised(method, problem, "descriptions", settings, seed)
    return [[g.unseen, g.seen, g.harmonic] for g in found]


def tune_one(name: str, problems: list[Problem]) -> dict[str, Any]:
    """Settings with the best accuracy given descriptions, over pseudo-unseen classes of all problems."""
    torch.set_num_threads(1)
    return tuned(BY_NAME[name], problems, "descriptions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="where features are kept")
    parser.add_argument(
        "--encoder",
        type=Path,
        action="append",
        required=True,
        help="folder of a text encoder or of all-MiniLM-L6-v2; repeat it to compare others with the first",
    )
    parser.add_argument("--backbone", choices=sorted(BACKBONES), default="mobilenet_v1")
    parser.add_argument("--packs", type=Path, help="folder of strict packs: their backbones instead of --backbone")
    parser.add_argument("--dataset", choices=DATASETS, default="cifar100")
    parser.add_argument("--splits", default="0,1,2,3,4", help="or strict_unseen")
    parser.add_argument("--methods", help="some of: " + "; ".join(BY_NAME))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--generalised", action="store_true", help="seen and unseen classes in one task, instead")
    parser.add_argument("--tune", action="store_true", help="choose the networks' settings instead, into settings.json")
    parser.add_argument("--json", type=Path, help="write all figures here")
    args = parser.parse_args()
    if not (args.shared / "data" / "splits.json").is_file():
        parser.error(f"{args.shared} holds no data/splits.json: give the folder that holds data/")
    names = [n.strip() for n in args.methods.split(";")] if args.methods else list(BY_NAME)
    if unknown := set(names) - set(BY_NAME):
        parser.error(f"unknown methods: {', '.join(sorted(unknown))}; known: {'; '.join(BY_NAME)}")
    problems = {}
    for folder in args.encoder:
        encoder = load_encoder(folder)
        found = dataset_embeddings(encoder, args.dataset, args.shared, args.cache)
        more = None
        if args.packs is None and any("pooled" in n for n in names):
            more = dataset_embeddings(encoder, POOLED[args.dataset][0], args.shared, args.cache)
        make = partial(make_problem, args.packs, args.backbone, args.dataset, found, more, args.shared, args.cache)
        problems[folder.name] = [make(s) for s in args.splits.split(",")]
    title = f"{args.dataset}, {'strict packs' if args.packs else args.backbone}, texts by"
    with ProcessPoolExecutor(args.jobs) as pool:
        if args.tune:
            inner = [p for problem in next(iter(problems.values())) for p in inner_problems(problem, 1)]
            found = {n: pool.submit(tune_one, n, inner) for n in names if BY_NAME[n].seeded}
            settings = committed_settings() | {n: f.result() for n, f in found.items()}
            path = Path(__file__).with_name("settings.json")
            path.write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
            print(f"wrote {path}", file=sys.stderr)
            return
        if args.generalised:
            for encoder, of_encoder in problems.items():
                jobs = {n: [pool.submit(generalise_one, n, p, 0) for p in of_encoder] for n in names}
                found = {n: np.array([job.result() for job in of_method]) for n, of_method in jobs.items()}
                print(f"\n{title} {encoder}\n\n{generalised_table(found)}", flush=True)
            return
        results = {e: study_all(names, of_encoder, args.seeds, pool) for e, of_encoder in problems.items()}
    linear = [m.name for m in LINEAR if m.name in names]
    for encoder, found in results.items():
        print(f"\n{title} {encoder}\n\n{table(found, linear)}")
    first = next(iter(results))
    for encoder in list(results)[1:]:
        print(f"\n20-way: {encoder} minus {first}\n\n{difference_table(results[encoder], results[first])}")
    if args.json:
        facts = {k: str(v) for k, v in vars(args).items()}
        figures = {e: {n: {c: v.tolist() for c, v in r.items()} for n, r in of.items()} for e, of in results.items()}
        args.json.write_text(json.dumps({"run": facts, "results": figures}, indent=1) + "\n", "utf-8")


def make_problem(
    packs: Path | None,
    backbone: str,
    dataset: str,
    found: ClassEmbeddings,
    pooled: ClassEmbeddings | None,
    shared: Path,
    cache: Path,
    split: str,
) -> Problem:
    """The problem of a split on the features of its strict pack, or of a frozen backbone."""
    if packs is None:
        return frozen_problem(backbone, dataset, split, found, shared, cache, pooled)
    return pack_problem(load_pack(packs / pack_name(split)), dataset, split, found, shared, cache)


def load_encoder(folder: Path) -> TextEncoder:
    """A text encoder of ours, or all-MiniLM-L6-v2 where the folder has no encoder.json."""
    return load_text_encoder(folder) if (folder / "encoder.json").is_file() else MiniLM(folder)


def study_all(
    names: list[str], problems: list[Problem], seeds: int, pool: ProcessPoolExecutor
) -> dict[str, dict[str, np.ndarray]]:
    """{method: {condition: float64 (splits, 3)}}, means over the seeds of 20-way, 5-way and 2-way accuracy."""
    count = {n: seeds if BY_NAME[n].seeded else 1 for n in names}
    jobs = {n: [[pool.submit(run_one, n, p, s) for s in range(count[n])] for p in problems] for n in names}
    results = {}
    for n in names:
        each = [[job.result() for job in of_split] for of_split in jobs[n]]
        results[n] = {c: np.array([np.mean([r[c] for r in one], 0) for one in each]) for c in CONDITIONS}
        print(f"{n}: done", file=sys.stderr, flush=True)
    return results


if __name__ == "__main__":
    main()
