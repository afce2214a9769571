"""python -m t2m_runtime MODEL IMAGE...: classifies photos with a compiled model.

Exit codes: 0 done, 1 the engine failed, 2 wrong use or bad input (the other images are still classified).
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Sequence

from t2m_runtime.errors import InputError, WorkError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m t2m_runtime", description="Classify photos with a compiled model.")
    parser.add_argument("model", metavar="MODEL", help="a .tflite or .onnx that t2m-edge compile wrote")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="photos, any size and format that Pillow reads")
    parser.add_argument(
        "--top", type=int, metavar="N", help="how many classes to list (default: 3, and all that are present)"
    )
    parser.add_argument(
        "--engine", help="litert, tflite_runtime, core or onnxruntime (default: the first that is installed)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the engine (default: 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except WorkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    from t2m_runtime.classifier import Classifier

    if options.top is not None and options.top < 1:
        raise InputError(f"--top is {options.top}; give 1 or more")
    documents, code = [], 0
    with Classifier.load(options.model, engine=options.engine, num_threads=options.threads) as classifier:
        for path in options.images:
            try:
                result = classifier.classify(path, options.top)
            except InputError as error:
                print(f"error: {error}", file=sys.stderr)
                documents.append({"image": path, "error": str(error)})
                code = 2
                continue
            if options.top is None:
                result = result.best(3)
            if options.json:
                classes = [{"name": name, "score": score} for name, score in zip(result.names, result.scores)]
                answer = {"rejected": result.rejected, "present": list(result.present), "classes": classes}
                documents.append({"image": path, **answer})
                continue
            print(path + ("  (none of these)" if result.rejected else ""))
            for name, score in zip(result.names, result.scores):
                print(f"  {score:8.4f}  {name}" + ("  (present)" if name in result.present else ""))
    if options.json:
        print(json.dumps({"schema_version": 1, "model": options.model, "images": documents}, ensure_ascii=False))
    return code


if __name__ == "__main__":
    sys.exit(main())
