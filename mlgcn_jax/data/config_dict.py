"""The type of a config, for annotations.

ml_collections annotates every value of a ConfigDict as a union of all types that one
may have, which no arithmetic fits; for type checkers a config is therefore Any.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

import ml_collections

if TYPE_CHECKING:
    ConfigDict: TypeAlias = Any
else:
    ConfigDict = ml_collections.ConfigDict
