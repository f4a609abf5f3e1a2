"""Everything that talks to the site: paced, retried, bounded, with tokens."""
