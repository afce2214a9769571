"""One measurement of the study in a process of its own, and the loop that measures what is not known yet."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import torch

from t2m_edge.evaluation.generalised import generalised
from t2m_edge.evaluation.methods import METHODS
from t2m_edge.evaluation.methods.method import CONDITIONS
from t2m_edge.evaluation.protocol import Problem, inner_problems, mean_accuracy, study, unseen_texts
from t2m_edge.evaluation.results import Key, ResultFile
from t2m_edge.evaluation.sources import Place, Sources

BY_NAME = {m.name: m for m in METHODS}


@dataclass(frozen=True)
class Job:
    """One method on one problem.

    kind: "accuracy" (on the unseen classes), "generalised" (seen and unseen in one task, given descriptions) or "trial"
    (on pseudo-unseen classes: what tuning reads). settings: None where the method is tuned inside the problem.
    """

    kind: str
    method: str
    place: Place
    settings: dict[str, Any] | None
    seed: int = 0

    def key(self, sources: Sources) -> Key:
        """Everything that the result depends on."""
        place = self.place
        return {
            "kind": self.kind,
            "method": self.method,
            "dataset": place.dataset,
            "split": place.split,
            "features": sources.features_id(place),
            "texts": sources.encoders[place.encoder].id,
            "settings": {"tuned": BY_NAME[self.method].grid} if self.settings is None else self.settings,
            "seed": self.seed,
        }


def measure(job: Job, problem: Problem) -> dict[str, Any]:
    """The figures of a job, in percent, the settings that it had and its processor time in seconds."""
    torch.set_num_threads(1)
    start, method = time.process_time(), BY_NAME[job.method]
    if job.kind == "accuracy":
        found = study(method, problem, job.settings, job.seed)
        result: dict[str, Any] = {"accuracy": found.accuracy, "settings": found.settings}
    elif job.kind == "generalised":
        assert job.settings is not None
        plain, calibrated = generalised(method, problem, "descriptions", job.settings, job.seed)
        result = {
            "plain": [plain.unseen, plain.seen, plain.harmonic],
            "calibrated": [calibrated.unseen, calibrated.seen, calibrated.harmonic],
        }
    else:
        assert job.settings is not None
        (inner,) = inner_problems(problem, 1)
        scores = method.fit(inner.seen, job.seed, **job.settings)
        result = {"accuracy": {c: mean_accuracy(scores, inner, unseen_texts(inner, c)) for c in CONDITIONS}}
    return result | {"cpu_s": round(time.process_time() - start, 1)}


def measure_all(jobs: Iterable[Job], sources: Sources, results: ResultFile, processes: int) -> None:
    """Measure the jobs that ``results`` does not hold; each goes into it as soon as it is done."""
    missing = [job for job in jobs if results.get(job.key(sources)) is None]
    if not missing:
        return
    running: dict[Future[dict[str, Any]], Job] = {}
    done = 0
    with ProcessPoolExecutor(processes) as pool:
        for job in [*missing, None]:
            while running and (job is None or len(running) > processes):
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    finished = running.pop(future)
                    results.add(finished.key(sources), future.result())
                    done += 1
                    print(
                        f"{done} of {len(missing)}: {finished.kind}, {finished.method}, "
                        f"{' '.join(vars(finished.place).values())}, {future.result()['cpu_s']} s",
                        file=sys.stderr,
                        flush=True,
                    )
            if job is not None:
                running[pool.submit(measure, job, sources.problem(job.place))] = job
