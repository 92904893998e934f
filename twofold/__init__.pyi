from . import data as data
from . import datasets as datasets
from . import io as io
from . import metrics as metrics
from . import model as model
from . import solvers as solvers
from . import testing as testing
from . import tuning as tuning
from .data import Pairings as Pairings
from .model import FactorModel as FactorModel
from .model.warm_up import warm_up as warm_up
from .objective import L1 as L1
from .objective import L2 as L2
from .objective import HuberLoss as HuberLoss
from .objective import LogisticLoss as LogisticLoss
from .objective import Loss as Loss
from .objective import Objective as Objective
from .objective import ObjectiveValue as ObjectiveValue
from .objective import Regularizer as Regularizer
from .objective import SquaredLoss as SquaredLoss
from .solvers import fold_in as fold_in
from .splits import split_pairs as split_pairs
from .splits import split_rows as split_rows

__version__: str
