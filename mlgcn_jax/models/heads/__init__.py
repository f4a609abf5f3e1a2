"""Label graph -> scorer: what a label is before any picture is seen."""
