"""The vocabulary of the paper (`terms`), checks of input, and seeds: what everything uses."""

# fmt: off
from nconvex.definitions.checks import (
    EndpointAboveL0, Interrupted, NconvexError, beside, is_masked, is_number, numbers,
    require_alpha, require_choice, require_ends, require_finite, require_integer, require_kind,
    require_models, require_not_negative, require_number, require_positive, require_t,
    require_theta, shown, told_apart,
)
from nconvex.definitions.labels import LABELS, encoded_labels
from nconvex.definitions.seeds import Seed, child, generator
from nconvex.definitions.tables import html_table
from nconvex.definitions.terms import (
    CITATION, VERSION, ConnectionStatus, Descent, DescentStatus, Insertion, Move, Peak, RMSProp,
    Result, Training, TrainingStatus,
)
