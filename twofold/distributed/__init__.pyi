from .engine import Cluster as Cluster
