from .als import DaskALS as DaskALS
from .engine import Cluster as Cluster
