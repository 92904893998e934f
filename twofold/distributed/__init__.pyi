from .engine import Cluster as Cluster
from .fold import fold_in as fold_in
