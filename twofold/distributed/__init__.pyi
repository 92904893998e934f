from .als import DaskALS as DaskALS
from .engine import Cluster as Cluster
from .factors import write_factors as write_factors
from .fold import fold_in as fold_in
from .judge import evaluate as evaluate
from .pairs import ClusterPairings as ClusterPairings
from .recommend import write_recommendations as write_recommendations
from .tune import search as search
