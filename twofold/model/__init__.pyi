from .changes import Changes as Changes
from .export import write_factors as write_factors
from .export import write_recommendations as write_recommendations
from .factor_model import FactorModel as FactorModel
from .folded import FoldedRows as FoldedRows
from .index import export_index as export_index
from .popularity import Popularity as Popularity
from .ranking import Ranking as Ranking
