"""`t2m-edge train text`: makes the pack's text encoder from WordNet, a teacher model and CLIP text vectors of names."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from t2m_edge.text.encoder import SCHEMA_VERSION, load_text_encoder
from t2m_edge.text.encoder_file import write_tensors
from t2m_edge.text.minilm import MiniLM, find_model
from t2m_edge.text.words import hash_words, split_words
from t2m_edge.training.text_corpus import HOW_TO_GET as HOW_TO_GET_WORDNET
from t2m_edge.training.text_corpus import composed_lines, read_irregular_forms, read_wordnet, training_lines
from t2m_edge.training.text_student import Schedule, Shape, Student, TokenLists, quantized_tensors, train_student
from t2m_edge.training.text_targets import (
    ClipPredictor,
    JointTargets,
    clip_texts,
    held_out_names,
    read_clip_rows,
    without_held_out,
)
from t2m_edge.training.text_teacher import teacher_vectors
from t2m_edge.training.text_tokenizer import UNKNOWN, train_tokenizer
from t2m_runtime.errors import InputError

KINDS = ("strict", "release")
HELD_OUT_LINES = 4_000
MAX_TOKENS = 256


def to_stderr(line: str) -> None:
    """Progress as the command line shows it."""
    print(line, file=sys.stderr, flush=True)


def train_text(
    output: str | Path,
    *,
    teacher: str | Path | None,
    wordnet: str | Path = "/usr/share/wordnet",
    data: str | Path,
    work: str | Path,
    kind: str = "release",
    lines: int = 262_144,
    composed: int = 65_536,
    width: int = 128,
    vocabulary: int = 24_000,
    clip_share: float = 0.5,
    schedule: Schedule | None = None,
    seed: int = 0,
    threads: int = 1,
    overwrite: bool = False,
    progress: Callable[[str], None] = to_stderr,
) -> dict:
    """Trains a text encoder and writes tokenizer.json, encoder.safetensors and encoder.json into `output`.

    Args:
        output: folder to write.
        teacher: folder of all-MiniLM-L6-v2 (see t2m_edge.text.minilm).
        wordnet: folder of WordNet 3's data files.
        data: the data folder; its `descriptions` hold the CLIP text vectors.
        work: folder for what is worth keeping between runs: teacher vectors, tokenizer, checkpoints. Another run with
            the same folder goes on where a stopped one was.
        kind: "strict" leaves every class name of CIFAR-100, Tiny-ImageNet and Grocery out of the CLIP side; "release"
            does not.
        lines: how many of WordNet's lines to learn from (there are about 600,000).
        composed: how many lines put together from it (see `composed_lines`).
        width: of a token row.
        vocabulary: number of tokens.
        clip_share: share of the squared length of a target that is predicted CLIP vector.
        schedule: steps, batch, rates.
        seed: of everything drawn at random.
        threads: torch threads; the same bytes come out on one machine with the same number of threads.
        overwrite: replace an encoder that is there.
        progress: gets lines of text.

    Returns:
        What encoder.json holds.

    Raises:
        InputError: something needed is missing; the message says how to get it.
    """
    output, work, schedule, shape = Path(output), Path(work), schedule or Schedule(), Shape(width)
    if kind not in KINDS:
        raise InputError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
    if min(lines, width, schedule.steps) < 1 or composed < 0:
        raise InputError("lines, width and steps are counts; give 1 or more, and 0 or more composed lines")
    if (output / "encoder.json").exists() and not overwrite:
        raise InputError(f"{output} holds a text encoder already; give --overwrite to replace it")
    if not (Path(wordnet) / "data.noun").is_file():
        raise InputError(f"{wordnet} is not a WordNet folder: data.noun is missing; {HOW_TO_GET_WORDNET}")
    model = find_model(teacher if teacher is not None else "teacher")
    started = time.perf_counter()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    minilm = MiniLM(model)

    synsets = read_wordnet(wordnet)
    parts = [training_lines(synsets, seed)[:lines], list(islice(composed_lines(synsets, seed), composed))]
    progress(f"corpus: {len(parts[0])} lines of {len(synsets)} synsets, {composed} composed ones")
    all_rows = read_clip_rows(data)
    kept = without_held_out(all_rows, held_out_names(data))
    tokenizer = _tokenizer(work, synsets, model, kept, vocabulary, progress)
    vectors = np.concatenate([teacher_vectors(part, minilm, work / "teacher", progress) for part in parts if part])
    corpus = [line for part in parts for line in part]
    rows = kept if kind == "strict" else all_rows
    names = clip_texts(all_rows)[0]
    of_name = dict(zip(names, teacher_vectors(names, minilm, work / "teacher", progress)))
    predictor = ClipPredictor(rows, lambda texts: np.stack([of_name[text] for text in texts]))
    sample = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:20_000])
    joint = JointTargets(predictor, vectors[sample], shape.d_text, clip_share)
    targets = joint(vectors).astype(np.float16)
    progress(
        f"targets: {len(rows)} CLIP rows, {100 * joint.kept_energy:.1f} % of the energy in {shape.d_text} directions"
    )

    unknown = tokenizer.token_to_id(UNKNOWN)
    encodings = tokenizer.encode_batch(corpus, add_special_tokens=False)
    tokens = [[i for i in encoding.ids if i != unknown] for encoding in encodings]
    usable = np.random.default_rng(seed).permutation([i for i, ids in enumerate(tokens) if ids])
    test_rows, train_rows = np.split(usable, [min(HELD_OUT_LINES, len(usable) // 10)])
    student = Student(tokenizer.get_vocab_size(), shape)
    settings = {
        "kind": kind, "lines": lines, "composed": composed, "vocabulary": vocabulary, "clip_share": clip_share,
        "seed": seed, "shape": asdict(shape), "schedule": asdict(schedule),
    }  # fmt: skip
    checkpoint = work / f"student-{hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]}.pt"
    token_lists = TokenLists.of([tokens[i] for i in train_rows])
    train_student(student, token_lists, targets[train_rows], schedule, seed, checkpoint, progress)

    taught = hash_words(_normalized_words(corpus + read_irregular_forms(wordnet), tokenizer))
    blob = write_tensors(quantized_tensors(student, taught))
    tokenizer_json = tokenizer.to_str().encode()
    info = {
        "schema_version": SCHEMA_VERSION,
        "kind": "attention",
        "id": f"t2m-text-{kind}@sha256:{hashlib.sha256(blob + tokenizer_json).hexdigest()}",
        "d_text": shape.d_text,
        "max_tokens": MAX_TOKENS,
        "licence": "Apache-2.0",
        "provenance": {
            "command": command_line(settings, threads),
            "settings": settings,
            "threads": threads,
            "teacher": minilm.id,
            "corpus": {
                "source": "WordNet 3 (wordnet-base)",
                "sha256": _digest(corpus),
                "lines": len(corpus),
                "composed": composed,
            },
            "clip_rows": {
                "used": len(rows),
                "left_out": len(all_rows) - len(rows),
                "vectors": "CLIP ViT-B/32",
            },
            "target_energy_kept": round(joint.kept_energy, 4),
            "torch": torch.__version__,
        },
    }
    _write(output, tokenizer_json, blob, info)
    encoder = load_text_encoder(output)
    vectors_out = encoder.encode([corpus[i] for i in test_rows])
    cosine = float((vectors_out * targets[test_rows].astype(np.float32)).sum(axis=1).mean())
    info["accuracy"] = {"cosine_to_target_held_out": round(cosine, 4), "held_out_lines": len(test_rows)}
    _write(output, tokenizer_json, blob, info)
    progress(
        f"{output}: {(len(blob) + len(tokenizer_json)) / 1e6:.2f} MB, cosine to target {cosine:.4f} on "
        f"{len(test_rows)} held-out lines (int8), {time.perf_counter() - started:.0f} s"
    )
    return info


def command_line(settings: dict, threads: int) -> str:
    """The command that makes an encoder of these settings, but for the folders."""
    flags = {name: settings[name] for name in ("kind", "lines", "composed", "seed")}
    flags |= {"width": settings["shape"]["width"], "steps": settings["schedule"]["steps"], "threads": threads}
    return " ".join(["t2m-edge train text", *(f"--{name} {value}" for name, value in flags.items())])


def _tokenizer(work: Path, synsets, model: Path, rows, vocabulary: int, progress) -> Tokenizer:
    """The tokenizer, trained once a work folder and vocabulary size."""
    path = work / f"tokenizer-{vocabulary}.json"
    if not path.is_file():
        progress(f"tokenizer: training {vocabulary} tokens")
        teacher_vocabulary = Tokenizer.from_file(str(model / "tokenizer.json")).get_vocab()
        common = {token for token in teacher_vocabulary if token.isalpha() and len(token) > 1}
        common |= {word for row in rows for name in row.names for word in split_words(name)}
        tokenizer = train_tokenizer(synsets, common, vocabulary)
        work.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part")
        tokenizer.save(str(aside), pretty=False)
        aside.replace(path)
    return Tokenizer.from_file(str(path))


def _normalized_words(lines: list[str], tokenizer: Tokenizer) -> set[str]:
    return {word for line in lines for word in split_words(tokenizer.normalizer.normalize_str(line))}


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _write(output: Path, tokenizer_json: bytes, blob: bytes, info: dict) -> None:
    output.mkdir(parents=True, exist_ok=True)
    contents = {
        "tokenizer.json": tokenizer_json,
        "encoder.safetensors": blob,
        "encoder.json": (json.dumps(info, indent=1) + "\n").encode(),
    }
    for name, content in contents.items():
        aside = output / f"{name}.part"
        aside.write_bytes(content)
        aside.replace(output / name)
