from .models import col_map as col_map
from .models import fold_in as fold_in
from .models import recommendations as recommendations
from .pairs import popularity as popularity
from .pairs import row_lengths as row_lengths
from .runs import convergence as convergence
from .searches import grid as grid
