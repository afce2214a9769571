"""Accuracy on unseen classes: features, methods and metrics of the study."""

import sys

if sys.argv[:1] == ["-m"]:
    # Python looks for the module that `python -m t2m_edge.evaluation...` names: its imports need the study's packages.
    from t2m_edge.cli.extras import need_extra
    from t2m_edge.cli.main import guarded

    if code := guarded(lambda: need_extra("study", "the accuracy study") or 0, debug=False):
        sys.exit(code)
