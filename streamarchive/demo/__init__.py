"""An archive with a synthesised interview on air, for trying everything out."""
