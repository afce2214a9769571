"""python -m t2m_edge.cli: the same as the t2m-edge command."""

from t2m_edge.cli.main import main

main()
