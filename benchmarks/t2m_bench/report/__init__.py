"""Results as one HTML page that needs nothing beside itself: no network, no script."""

from t2m_bench.report.page import page

__all__ = ["page"]
