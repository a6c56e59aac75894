"""Prometheus metrics of the service, of its plugins and of its processes.

https://prometheus.github.io/client_python/
"""

from .exposition import CONTENT_TYPE
from .plugin_metrics import GaugeMode, PluginMetrics
from .service_metrics import Metrics, Pool

__all__ = ["CONTENT_TYPE", "GaugeMode", "Metrics", "PluginMetrics", "Pool"]
